import type { ByteBudget } from '../base/byte-budget.ts'
import { PosternError } from '../base/errors.ts'

/**
 * Gathers one body that comes in pieces. What it holds is reserved in the process's budget, as the
 * pieces are consumed on their stream at once: a body may be larger than the stream's window.
 */
export class BodyCollector {
  readonly #budget: ByteBudget
  readonly #bytesMax: number
  #pieces: Buffer[] = []
  #bytes = 0

  constructor(budget: ByteBudget, bytesMax: number) {
    this.#budget = budget
    this.#bytesMax = bytesMax
  }

  /** @throws MESSAGE_TOO_LARGE, BUDGET_EXHAUSTED; call `drop` then */
  add(piece: Buffer): void {
    if (this.#bytes + piece.length > this.#bytesMax) throw messageTooLarge(this.#bytesMax)
    if (!this.#budget.reserve(piece.length)) {
      throw new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for a large message')
    }
    this.#pieces.push(piece)
    this.#bytes += piece.length
  }

  /** The whole body; the collector is empty afterwards. */
  take(): Buffer {
    const first = this.#pieces[0]
    const body =
      this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces)
    this.drop()
    return body
  }

  drop(): void {
    this.#budget.release(this.#bytes)
    this.#pieces = []
    this.#bytes = 0
  }
}

export function messageTooLarge(bytesMax: number): PosternError {
  return new PosternError('MESSAGE_TOO_LARGE', `a message exceeds ${String(bytesMax)} bytes`, {
    bytesMax,
  })
}
