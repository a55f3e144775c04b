import { PosternError } from '../base/errors.ts'
import type { MuxStream } from '../mux/stream.ts'

const FIRST_BYTES = 16 * 1024

/**
 * Gathers one body that comes in pieces. What it holds is reserved on the account of the stream's
 * session, as the pieces are consumed at once: a body may be larger than the stream's window. The
 * pieces are copied together, so that a body costs its bytes however finely it was cut.
 */
export class BodyCollector {
  readonly #stream: Pick<MuxStream, 'reserveMessage' | 'releaseMessage'>
  readonly #bytesMax: number
  #block: Buffer = NOTHING
  #bytes = 0

  constructor(stream: Pick<MuxStream, 'reserveMessage' | 'releaseMessage'>, bytesMax: number) {
    this.#stream = stream
    this.#bytesMax = bytesMax
  }

  /** Adds a piece of the body. @throws MESSAGE_TOO_LARGE, BUDGET_EXHAUSTED; call `drop` then */
  add(piece: Buffer): void {
    const total = this.#bytes + piece.length
    if (total > this.#bytesMax) throw messageTooLarge(this.#bytesMax)
    if (total > this.#block.length) this.#grow(total)
    piece.copy(this.#block, this.#bytes)
    this.#bytes = total
  }

  /** Nothing was added. */
  get isEmpty(): boolean {
    return this.#bytes === 0
  }

  /** The whole body. It stays reserved until `drop`, as whoever has it holds it. */
  take(): Buffer {
    return this.#block.subarray(0, this.#bytes)
  }

  /** Nobody holds the body any more. */
  drop(): void {
    this.#stream.releaseMessage(this.#block.length)
    this.#block = NOTHING
    this.#bytes = 0
  }

  #grow(total: number): void {
    const size = Math.min(this.#bytesMax, Math.max(total, FIRST_BYTES, this.#block.length * 2))
    if (!this.#stream.reserveMessage(size - this.#block.length))
      throw new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for a large message')
    const block = Buffer.allocUnsafeSlow(size)
    this.#block.copy(block, 0, 0, this.#bytes)
    this.#block = block
  }
}

const NOTHING = Buffer.alloc(0)

/** Makes the error of a message over its limit. */
export function messageTooLarge(bytesMax: number): PosternError {
  return new PosternError('MESSAGE_TOO_LARGE', `a message exceeds ${String(bytesMax)} bytes`, {
    bytesMax,
  })
}
