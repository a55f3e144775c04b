import { randomBytes } from 'node:crypto'

/** Chance, injected so that tests can seed it. */
export interface Random {
  /** Uniform in [0, 1). For jitter, never for secrets. */
  fraction(): number
  /** `count` unpredictable bytes, as lower-case hex. */
  hex(count: number): string
}

/** Chance as the system gives it. */
export const systemRandom: Random = {
  fraction: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  hex: (count) => randomBytes(count).toString('hex'),
}
