import assert from 'node:assert/strict'
import { PAYLOAD_BYTES_MAX } from './frame.ts'
import { HEADER_BYTES, lengthAt, writeHeader, writeLength } from './header.ts'

/** An idle writer holds nothing: ten thousand idle tunnels must not cost their buffers. */
const EMPTY = Buffer.alloc(0)
const KEPT_BYTES_MAX = 256 * 1024

/**
 * A growing run of encoded frames. A frame is begun, its payload written field by field, and ended;
 * nothing is allocated per frame. Field widths are the caller's to respect.
 */
export class FrameWriter {
  #bytes = EMPTY
  /** Taken by drainInto up to here. */
  #from = 0
  #at = 0
  #frameAt = -1

  /** Bytes encoded and not yet taken. */
  get length(): number {
    return this.#at - this.#from
  }

  begin(type: number, flags: number, streamId: number): void {
    assert(this.#frameAt === -1, 'the previous frame was not ended')
    // Room for the largest frame once, so that field writes need no check of their own.
    if (this.#bytes.length - this.#at < HEADER_BYTES + PAYLOAD_BYTES_MAX) this.#grow()
    writeHeader(this.#bytes, this.#at, type, flags, streamId)
    this.#frameAt = this.#at
    this.#at += HEADER_BYTES
  }

  end(): void {
    const lengthBytes = this.#at - this.#frameAt - HEADER_BYTES
    assert(this.#frameAt !== -1 && lengthBytes <= PAYLOAD_BYTES_MAX, 'frame not begun or too large')
    writeLength(this.#bytes, this.#frameAt, lengthBytes)
    this.#frameAt = -1
  }

  u8(value: number): void {
    this.#bytes[this.#at++] = value
  }

  u16(value: number): void {
    this.#at = this.#bytes.writeUInt16BE(value, this.#at)
  }

  u32(value: number): void {
    this.#at = this.#bytes.writeUInt32BE(value, this.#at)
  }

  /** An unsigned integer up to 2^53 - 1, in eight bytes. */
  u64(value: number): void {
    this.#bytes.writeUInt32BE(Math.floor(value / 2 ** 32), this.#at)
    this.#at = this.#bytes.writeUInt32BE(value % 2 ** 32, this.#at + 4)
  }

  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  slice(from: Buffer, start: number, end: number): void {
    from.copy(this.#bytes, this.#at, start, end)
    this.#at += end - start
  }

  /**
   * Moves as many whole frames as fit into `into` from `at` on, oldest first; returns how many bytes.
   * Frames are kept whole so that a more urgent run may go between two of them.
   */
  drainInto(into: Buffer, at: number): number {
    assert(this.#frameAt === -1, 'a frame is being written')
    const from = this.#from
    let end = this.#at
    if (end - from > into.length - at) end = this.#lastWholeFrame(from, into.length - at)
    this.#bytes.copy(into, at, from, end)
    this.#from = end
    if (end === this.#at) this.#reset()
    return end - from
  }

  /** Everything written so far, as a copy; the writer is empty afterwards. */
  take(): Buffer {
    const bytes = Buffer.allocUnsafeSlow(this.length)
    this.drainInto(bytes, 0)
    return bytes
  }

  #lastWholeFrame(from: number, room: number): number {
    let end = from
    for (;;) {
      const next = end + HEADER_BYTES + lengthAt(this.#bytes, end)
      if (next - from > room) return end
      end = next
    }
  }

  /** Starts over, and gives back memory that a burst made it take. */
  #reset(): void {
    this.#from = 0
    this.#at = 0
    if (this.#bytes.length > KEPT_BYTES_MAX) this.#bytes = EMPTY
  }

  #grow(): void {
    const used = this.#at - this.#from
    const room = used + HEADER_BYTES + PAYLOAD_BYTES_MAX
    const bytes = Buffer.allocUnsafeSlow(Math.max(room, used * 2))
    this.#bytes.copy(bytes, 0, this.#from, this.#at)
    this.#bytes = bytes
    this.#from = 0
    this.#at = used
  }
}
