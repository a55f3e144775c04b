/** A rate with a burst. Time comes with each call, in milliseconds of one clock. */
export class TokenBucket {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  /** Up to when tokens were added; nothing is added for the time before the first call. */
  #atMs: number | undefined

  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1000
    this.#burst = burst
    this.#tokens = burst
  }

  /** Takes one token; false when none is left. */
  take(nowMs: number): boolean {
    this.#atMs ??= nowMs
    if (this.#tokens < 1) {
      this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#atMs) * this.#perMs)
      this.#atMs = nowMs
      if (this.#tokens < 1) return false
    }
    this.#tokens -= 1
    return true
  }
}
