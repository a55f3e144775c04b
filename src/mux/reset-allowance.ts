import { TokenBucket } from '../base/token-bucket.ts'

/** Keeps whoever opens and resets streams under a rate, by letting it open no more for a while. */
export class ResetAllowance {
  readonly #bucket: TokenBucket
  #owed = 0

  constructor(perSecond: number, burst: number) {
    this.#bucket = new TokenBucket(perSecond, burst)
  }

  didReset(nowMs: number): void {
    if (!this.#bucket.spend(nowMs)) this.#owed++
  }

  mayOpen(nowMs: number): boolean {
    while (this.#owed > 0 && this.#bucket.spend(nowMs)) this.#owed--
    return this.#owed === 0
  }
}
