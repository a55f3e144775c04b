import type { ErrorCode } from '../base/error-codes.ts'
import { wireNumber } from '../wire/codes.ts'
import { FLAG_END, FRAME, PAYLOAD_BYTES_MAX } from '../wire/frame.ts'
import { HEADER_BYTES, writeHeader, writeLength } from '../wire/header.ts'
import { FrameWriter } from '../wire/frame-writer.ts'
import { HIGH_WATER_BYTES, type Sender } from './send-queue.ts'

/** So many served places of the ring are dropped at once: one by one would cost a move of the rest each time. */
const RING_SERVED_MAX = 1024
/** A DATA frame smaller than this waits for the next batch rather than fill the end of one. */
const DATA_BYTES_WORTH = 1024

/**
 * What a session has to send, in order of urgency: control frames, then opens and answers of calls,
 * then data, one frame per stream in turn.
 */
export class Output {
  readonly control = new FrameWriter()
  readonly calls = new FrameWriter()
  /** Absolute: how far the peer lets the session send, and how far it has sent. */
  limit = 0
  sent = 0
  readonly #ring: Sender[] = []
  #ringHead = 0

  /** Something could be sent at once. */
  get isReady(): boolean {
    if (this.control.length > 0 || this.calls.length > 0) return true
    return this.#ringHead < this.#ring.length && (this.sent < this.limit || this.#hasFinal())
  }

  /** Puts a stream that has data and credit, or an end to send, in the ring. */
  ready(stream: Sender): void {
    const queue = stream.send
    if (queue === undefined || queue.isReady) return
    queue.isReady = true
    this.#ring.push(stream)
  }

  /** The opener may send up to `limit`. */
  writeAccept(id: number, limit: number): void {
    this.control.begin(FRAME.ACCEPT, 0, id)
    this.control.u64(limit)
    this.control.end()
  }

  /** RESET or STOP. `isBehindOpen`: it must not overtake the OPEN of its stream, which may not have left yet. */
  writeCode(type: number, id: number, code: ErrorCode, isBehindOpen: boolean): void {
    const writer = isBehindOpen ? this.calls : this.control
    writer.begin(type, 0, id)
    writer.u16(wireNumber(code))
    writer.end()
  }

  /** Fills `into`; returns how many bytes. */
  fill(into: Buffer): number {
    let at = this.control.drainInto(into, 0)
    if (this.control.length > 0) return at
    at += this.calls.drainInto(into, at)
    if (this.calls.length > 0) return at
    let turns = this.#ring.length - this.#ringHead
    while (turns > 0 && into.length - at > HEADER_BYTES + DATA_BYTES_WORTH) {
      const stream = this.#next()
      const wrote = this.#serve(stream, into, at)
      at += wrote
      // A stream that could send nothing (no session credit) must not be asked again in this batch.
      turns = wrote > 0 ? this.#ring.length - this.#ringHead : turns - 1
    }
    return at
  }

  #next(): Sender {
    const stream = this.#ring[this.#ringHead++] as Sender
    if (this.#ringHead === this.#ring.length) this.#ring.length = 0
    else if (this.#ringHead >= RING_SERVED_MAX) this.#ring.splice(0, this.#ringHead)
    else return stream
    this.#ringHead = 0
    return stream
  }

  /** One frame of one stream; returns its size, or 0. */
  #serve(stream: Sender, into: Buffer, at: number): number {
    const queue = stream.send
    if (queue === undefined) return 0
    queue.isReady = false
    const room = Math.min(PAYLOAD_BYTES_MAX, into.length - at - HEADER_BYTES)
    const credit = Math.min(queue.limit - queue.sent, this.limit - this.sent)
    const count = Math.max(0, Math.min(queue.queuedBytes, room, credit))
    const drained = count === queue.queuedBytes
    if (drained && queue.trailer !== undefined && count === 0)
      return this.#serveTrailer(stream, into, at)
    const end = drained && queue.ending
    if (count === 0 && !end) {
      if (queue.queuedBytes > 0 && queue.limit > queue.sent) this.ready(stream)
      return 0
    }
    writeHeader(into, at, FRAME.DATA, end ? FLAG_END : 0, stream.id)
    writeLength(into, at, count)
    queue.moveInto(into, at + HEADER_BYTES, count)
    this.sent += count
    stream.sentBytes(count)
    if (end) stream.localEnded()
    else if (queue.trailer !== undefined || (queue.queuedBytes > 0 && queue.limit > queue.sent)) {
      this.ready(stream)
    }
    if (queue.isFull && queue.queuedBytes < HIGH_WATER_BYTES / 2) {
      queue.isFull = false
      stream.writable()
    }
    return HEADER_BYTES + count
  }

  #serveTrailer(stream: Sender, into: Buffer, at: number): number {
    const trailer = (stream.send as { trailer: FrameWriter }).trailer
    if (trailer.length > into.length - at) {
      this.ready(stream)
      return 0
    }
    const wrote = trailer.drainInto(into, at)
    stream.localEnded()
    return wrote
  }

  /** A stream in the ring needs no session credit for what it has to send. */
  #hasFinal(): boolean {
    for (let i = this.#ringHead; i < this.#ring.length; i++) {
      const queue = this.#ring[i]?.send
      if (queue?.queuedBytes === 0 && (queue.ending || queue.trailer !== undefined)) return true
    }
    return false
  }
}
