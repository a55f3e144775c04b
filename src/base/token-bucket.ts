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

  /** Gives one back. */
  give(): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + 1)
  }

  /** Takes tokens, by default one; false, and takes none, where so many are not left. */
  spend(nowMs: number, count = 1): boolean {
    const elapsedMs = nowMs - (this.#atMs ?? nowMs)
    this.#atMs = nowMs
    this.#tokens = Math.min(this.#burst, this.#tokens + elapsedMs * this.#perMs)
    if (this.#tokens < count) return false
    this.#tokens -= count
    return true
  }
}
