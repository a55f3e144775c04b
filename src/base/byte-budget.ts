import assert from 'node:assert/strict'

/**
 * One pool of bytes for all receive windows of a process. A window is granted to a peer only
 * after it was reserved here, so the sum of what peers may make us hold never exceeds the pool.
 */
export class ByteBudget {
  readonly bytesMax: number
  #reserved = 0

  constructor(bytesMax: number) {
    assert(bytesMax > 0)
    this.bytesMax = bytesMax
  }

  get reservedBytes(): number {
    return this.#reserved
  }

  /** Takes `bytes` from the pool, or takes nothing and says false. */
  reserve(bytes: number): boolean {
    if (this.#reserved + bytes > this.bytesMax) return false
    this.#reserved += bytes
    return true
  }

  release(bytes: number): void {
    this.#reserved -= bytes
    assert(this.#reserved >= 0, 'released more than was reserved')
  }
}
