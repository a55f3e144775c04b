import assert from 'node:assert/strict'

/**
 * How much of a pool each use may fill. The less a use matters for everyone to go on, the earlier it
 * is refused: what grows for speed first, a new session last.
 */
export const BUDGET_SHARE = { growth: 1 / 2, firstWindow: 3 / 4, message: 7 / 8, all: 1 } as const

/**
 * A pool of bytes that peers may make us hold. A window is granted to a peer only after it was
 * reserved here, so the sum of what peers may make us hold never exceeds the pool. A pool within
 * another is one peer's part of it.
 */
export class ByteBudget {
  readonly bytesMax: number
  readonly #whole: ByteBudget | undefined
  #reserved = 0

  constructor(bytesMax: number, whole?: ByteBudget) {
    assert(bytesMax > 0)
    this.bytesMax = bytesMax
    this.#whole = whole
  }

  get reservedBytes(): number {
    return this.#reserved
  }

  /** Takes `bytes` while the pool is filled up to `share` at most; or takes nothing and says false. */
  reserve(bytes: number, share: number = BUDGET_SHARE.all): boolean {
    if (this.#reserved + bytes > this.bytesMax * share) return false
    if (this.#whole?.reserve(bytes, share) === false) return false
    this.#reserved += bytes
    return true
  }

  release(bytes: number): void {
    this.#reserved -= bytes
    assert(this.#reserved >= 0, 'released more than was reserved')
    this.#whole?.release(bytes)
  }
}
