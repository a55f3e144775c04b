import { BUDGET_SHARE, type ByteBudget } from '../base/byte-budget.ts'

const STEP_BYTES = 256 * 1024

/**
 * Opens and answers that wait for the peer to read. Beyond a first step they are reserved in the
 * budget, so that peers that call and do not read cannot make us hold more than our share for them.
 */
export class CallBacklog {
  readonly #budget: ByteBudget
  #reserved = 0

  constructor(budget: ByteBudget) {
    this.#budget = budget
  }

  /** Fits the reservation to what waits now. False: there is no room for it. */
  fit(waitingBytes: number): boolean {
    if (waitingBytes === 0) {
      this.release()
      return true
    }
    while (waitingBytes > this.#reserved + STEP_BYTES) {
      if (!this.#budget.reserve(STEP_BYTES, BUDGET_SHARE.message)) return false
      this.#reserved += STEP_BYTES
    }
    return true
  }

  release(): void {
    this.#budget.release(this.#reserved)
    this.#reserved = 0
  }
}
