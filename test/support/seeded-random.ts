import type { Random } from '../../src/base/random.ts'

/** mulberry32: small, fast, and the same for the same seed everywhere. */
export class SeededRandom implements Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  hex(count: number): string {
    return Array.from({ length: count }, () =>
      this.integer(256).toString(16).padStart(2, '0'),
    ).join('')
  }

  /** From 0 up to, not including, `below`. */
  integer(below: number): number {
    return Math.floor(this.fraction() * below)
  }

  chance(probability: number): boolean {
    return this.fraction() < probability
  }
}
