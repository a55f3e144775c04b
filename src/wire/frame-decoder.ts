import { PosternError } from '../base/errors.ts'
import { EXTENSION_TYPE_MIN, LENGTHS, PAYLOAD_BYTES_MAX } from './frame.ts'
import { flagsAt, HEADER_BYTES, lengthAt, streamIdAt, typeAt } from './header.ts'

/**
 * Receives one whole frame. The payload is `bytes[start, end)`; it stays valid after the call, and
 * shares memory with the chunk that was pushed.
 */
export type OnFrame = (
  type: number,
  flags: number,
  streamId: number,
  bytes: Buffer,
  start: number,
  end: number,
) => void

/**
 * Turns bytes cut anywhere into whole frames. A frame that lies whole in a chunk is not copied; one
 * that is cut is gathered in a buffer of exactly its size, allocated after its header was judged.
 */
export class FrameDecoder {
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerHave = 0
  #gather: Buffer | undefined
  #gatherHave = 0

  /** Bytes held between calls: less than one frame. */
  get heldBytes(): number {
    return this.#headerHave + this.#gatherHave
  }

  /** Takes bytes as they came, and tells each frame that is whole. @throws FRAME_TOO_LARGE, PROTOCOL_VIOLATION; the decoder must then be discarded. */
  push(chunk: Buffer, onFrame: OnFrame): void {
    let at = 0
    if (this.#headerHave > 0) {
      const next = this.#resume(chunk, onFrame)
      if (next === undefined) return
      at = next
    }
    while (at + HEADER_BYTES <= chunk.length) {
      const lengthBytes = judgeHeader(chunk, at)
      const start = at + HEADER_BYTES
      const end = start + lengthBytes
      if (end > chunk.length) break
      onFrame(typeAt(chunk, at), flagsAt(chunk, at), streamIdAt(chunk, at), chunk, start, end)
      at = end
    }
    if (at < chunk.length) this.#hold(chunk, at)
  }

  /** Completes the frame that an earlier chunk began; returns where the next begins, or undefined where this one goes on. */
  #resume(chunk: Buffer, onFrame: OnFrame): number | undefined {
    let at = 0
    if (this.#gather === undefined) {
      const take = Math.min(HEADER_BYTES - this.#headerHave, chunk.length)
      chunk.copy(this.#header, this.#headerHave, 0, take)
      this.#headerHave += take
      at = take
      if (this.#headerHave < HEADER_BYTES) return undefined
      this.#gather = Buffer.allocUnsafeSlow(judgeHeader(this.#header, 0))
      this.#gatherHave = 0
    }
    const gather = this.#gather
    const take = Math.min(gather.length - this.#gatherHave, chunk.length - at)
    chunk.copy(gather, this.#gatherHave, at, at + take)
    this.#gatherHave += take
    if (this.#gatherHave < gather.length) return undefined
    this.#gather = undefined
    this.#gatherHave = 0
    this.#headerHave = 0
    const header = this.#header
    onFrame(typeAt(header, 0), flagsAt(header, 0), streamIdAt(header, 0), gather, 0, gather.length)
    return at + take
  }

  #hold(chunk: Buffer, at: number): void {
    const have = Math.min(HEADER_BYTES, chunk.length - at)
    chunk.copy(this.#header, 0, at, at + have)
    this.#headerHave = have
    if (have < HEADER_BYTES) return
    const gather = Buffer.allocUnsafeSlow(lengthAt(this.#header, 0))
    this.#gatherHave = chunk.copy(gather, 0, at + HEADER_BYTES)
    this.#gather = gather
  }
}

/** The payload length, once type and length are known to be allowed. */
function judgeHeader(bytes: Buffer, at: number): number {
  const type = typeAt(bytes, at)
  const lengthBytes = lengthAt(bytes, at)
  if (type >= EXTENSION_TYPE_MIN) {
    if (lengthBytes <= PAYLOAD_BYTES_MAX) return lengthBytes
    throw new PosternError('FRAME_TOO_LARGE', 'an extension frame is too large', {
      type,
      lengthBytes,
    })
  }
  const range = LENGTHS[type]
  if (range === undefined) {
    throw new PosternError('PROTOCOL_VIOLATION', `unknown frame type ${String(type)}`, { type })
  }
  if (lengthBytes > range.max) {
    const text = `frame type ${String(type)} announces ${String(lengthBytes)} bytes, at most ${String(range.max)}`
    throw new PosternError('FRAME_TOO_LARGE', text, { type, lengthBytes })
  }
  if (lengthBytes < range.min) {
    const text = `frame type ${String(type)} announces ${String(lengthBytes)} bytes, at least ${String(range.min)}`
    throw new PosternError('PROTOCOL_VIOLATION', text, { type, lengthBytes })
  }
  return lengthBytes
}
