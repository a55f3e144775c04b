/** So much of something in any span of so long. */
export interface BudgetSpec {
  readonly amount: number
  readonly periodMs: number
}

const SLOTS = 64

/** What a budget has spent, as it is kept over restarts: the oldest slot first. */
export type SpentSlots = readonly number[]

/**
 * A budget over a sliding span of monotonic time, in 64 slots: in no span of that length is more spent than its
 * amount, however a clock on the wall jumps. What was spent before a restart counts as if no time had passed.
 */
export class Budget {
  readonly spec: BudgetSpec
  readonly #slots = new Float64Array(SLOTS)
  readonly #slotMs: number
  #head = 0
  #headAtMs: number
  #sum = 0

  constructor(spec: BudgetSpec, nowMs: number, spent: SpentSlots = []) {
    this.spec = spec
    // One slot more than the span has: the oldest is counted whole until all of it is past.
    this.#slotMs = spec.periodMs / (SLOTS - 1)
    this.#headAtMs = nowMs
    for (const [index, amount] of spent.slice(-SLOTS).entries()) {
      this.#slots[index] = amount
      this.#sum += amount
    }
    this.#head = Math.max(0, Math.min(spent.length, SLOTS) - 1)
  }

  /** What may still be spent at this moment. */
  left(nowMs: number): number {
    this.#turn(nowMs)
    return Math.max(0, this.spec.amount - this.#sum)
  }

  /** Spends an amount, and says whether there was as much; where not, nothing is spent. */
  spend(amount: number, nowMs: number): boolean {
    if (this.left(nowMs) < amount) return false
    this.#slots[this.#head] = (this.#slots[this.#head] as number) + amount
    this.#sum += amount
    return true
  }

  /** What was spent, for a restart: the oldest slot first. */
  spent(nowMs: number): SpentSlots {
    this.#turn(nowMs)
    const order = Array.from({ length: SLOTS }, (_none, index) => (this.#head + 1 + index) % SLOTS)
    return order.map((index) => this.#slots[index] as number)
  }

  #turn(nowMs: number): void {
    const passed = Math.floor((nowMs - this.#headAtMs) / this.#slotMs)
    if (passed <= 0) return
    this.#headAtMs += passed * this.#slotMs
    for (let step = 0; step < Math.min(passed, SLOTS); step++) {
      this.#head = (this.#head + 1) % SLOTS
      this.#sum -= this.#slots[this.#head] as number
      this.#slots[this.#head] = 0
    }
    if (passed >= SLOTS) this.#sum = 0
  }
}
