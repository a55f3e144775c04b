import type { Clock } from './clock.ts'
import type { LogFacts, Logger } from './logger.ts'
import { TokenBucket } from './token-bucket.ts'

const KEYS_MAX = 256

interface Entry {
  readonly bucket: TokenBucket
  suppressed: number
}

/**
 * Warnings that strangers can provoke, at a rate that fills no disk: beyond a burst per key, a few a
 * second, each saying how many before it were left out.
 */
export class LogLimiter {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #burst: number
  readonly #entries = new Map<string, Entry>()

  constructor(logger: Logger, clock: Clock, perSecond = 5, burst = 100) {
    this.#logger = logger
    this.#clock = clock
    this.#perSecond = perSecond
    this.#burst = burst
  }

  /** `key`: what counts together, from a small closed set. */
  warn(key: string, facts: LogFacts, message: string): void {
    const entry = this.#entry(key)
    if (!entry.bucket.spend(this.#clock.nowMs())) {
      entry.suppressed++
      return
    }
    const { suppressed } = entry
    entry.suppressed = 0
    this.#logger.warn(suppressed === 0 ? facts : { ...facts, suppressed }, message)
  }

  #entry(key: string): Entry {
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    if (this.#entries.size >= KEYS_MAX) this.#entries.clear()
    const entry = { bucket: new TokenBucket(this.#perSecond, this.#burst), suppressed: 0 }
    this.#entries.set(key, entry)
    return entry
  }
}
