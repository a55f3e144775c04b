import assert from 'node:assert/strict'
import { ByteQueue } from '../base/byte-queue.ts'
import { PosternError, type ErrorCode } from '../base/errors.ts'
import { FRAME } from '../wire/frame.ts'
import { FrameWriter } from '../wire/frame-writer.ts'
import { writeRefuse } from '../wire/refuse.ts'
import { HIGH_WATER_BYTES, SendQueue, type Sender } from './send-queue.ts'
import type { Opening, StreamHost } from './stream-host.ts'
import { StreamReceiver } from './stream-receiver.ts'
import type { SinkOf } from './stream-sink.ts'

/** What the owner of a stream is told. */
export type StreamSink = SinkOf<MuxStream>

/**
 * One stream of a session: two directions, each ended on its own.
 *
 *   opener                          acceptor
 *   OPEN [DATA...] ---------------> accept | refuse | trailer
 *   DATA ... END   <--------------> DATA ... END or TRAILER
 *   RESET ends both directions from either side, at any time
 *
 * A unary call is OPEN with END one way and TRAILER the other; it holds neither queue nor window.
 */
export class MuxStream implements Sender {
  readonly id: number
  /** Opened by the peer. */
  readonly isInbound: boolean
  /** Set by `accept` or by the opener; before that nothing is delivered. */
  sink: StreamSink | undefined
  send: SendQueue | undefined
  #receiver: StreamReceiver | undefined
  readonly #host: StreamHost<MuxStream>
  #onClosed: (() => void) | undefined
  #isAnswered = false
  #localDone = false
  #remoteDone = false
  /** Something of the peer's answer has come; and metadata of ours has gone. */
  #hasBegun = false
  #hasHeaders = false
  /** Data that came before `accept`; at most the stream credit of our HELLO. */
  #early: ByteQueue | undefined

  constructor(host: StreamHost<MuxStream>, id: number, opening: Opening<StreamSink>) {
    this.#host = host
    this.id = id
    this.isInbound = opening.isInbound
    this.sink = opening.sink
    if (opening.isInbound) this.#remoteDone = opening.isEnded
    else this.#localDone = opening.isEnded
  }

  get isClosed(): boolean {
    return this.#localDone && this.#remoteDone
  }

  /** Calls back once, when both directions are over for whatever reason; for one observer. */
  whenClosed(onClosed: () => void): void {
    assert(this.#onClosed === undefined, 'the stream has an observer')
    this.#onClosed = onClosed
  }

  get hasLocalEnded(): boolean {
    return this.#localDone
  }

  /** What is written still goes to the peer. */
  get takesData(): boolean {
    return !this.#localDone && this.send?.isStopped !== true
  }

  /** Takes a stream that the peer opened. @throws BUDGET_EXHAUSTED, and the stream was refused */
  accept(sink: StreamSink): void {
    if (this.isClosed) return
    assert(this.isInbound && !this.#isAnswered)
    const limit = this.#remoteDone ? 0 : this.#openWindow()
    if (limit === undefined) {
      this.refuse('BUDGET_EXHAUSTED', true, '')
      throw new PosternError('BUDGET_EXHAUSTED', 'no receive window is to be had for a new stream')
    }
    this.#isAnswered = true
    this.sink = sink
    this.#host.output.writeAccept(this.id, limit)
    this.#host.wake()
    const early = this.#early
    this.#early = undefined
    if (early !== undefined && early.length > 0) sink.onData(this, early.take(early.length))
    // What was delivered may have made the owner end the stream.
    if (this.#remoteDone && this.sink === sink) sink.onEnd(this)
  }

  /** Does not take a stream that the peer opened: the peer may be sure that nothing was started. */
  refuse(code: ErrorCode, canRetry: boolean, text: string): void {
    if (this.isClosed) return
    assert(this.isInbound && !this.#isAnswered)
    this.#isAnswered = true
    writeRefuse(this.#host.output.control, this.id, code, canRetry, text)
    this.#host.wake()
    this.#finishBoth()
  }

  /** The peer takes nothing now; `onWritable` comes once it does. */
  awaitsCredit(): boolean {
    if (!this.takesData) return false
    const queue = this.#queue()
    if (queue.hasCredit) return false
    queue.isFull = true
    return true
  }

  /**
   * Queues data of our own making, reserved in the budget until it is sent; without room for it there the
   * stream is reset with BUDGET_EXHAUSTED. False: the queue is full, wait for `onWritable`. The bytes
   * must not change.
   */
  write(bytes: Uint8Array): boolean {
    if (!this.takesData) return true
    if (this.#queue().reserve(bytes.length)) return this.pass(bytes)
    this.abort('BUDGET_EXHAUSTED')
    return true
  }

  /** Queues data that is in the budget already, as a window it was received by. The rest as `write`. */
  pass(bytes: Uint8Array): boolean {
    if (!this.takesData) return true
    const queue = this.#queue()
    assert(!queue.ending && queue.trailer === undefined, 'write after end')
    queue.push(bytes)
    this.#schedule(queue)
    if (queue.queuedBytes < HIGH_WATER_BYTES) return true
    queue.isFull = true
    return false
  }

  /** Sends the metadata that our answer begins with: once, before anything else of it. A peer that cannot read it gets none. */
  writeHeaders(bytes: Buffer, start: number, end: number): void {
    if (this.#localDone || this.#hasHeaders || !this.#host.peerReadsHeaders) return
    this.#hasHeaders = true
    const { calls } = this.#host.output
    calls.begin(FRAME.HEADERS, 0, this.id)
    calls.slice(bytes, start, end)
    calls.end()
    this.#host.wake()
    this.#host.fitBacklog()
  }

  /** Half-closes behind what is queued. */
  end(): void {
    if (this.#localDone) return
    const queue = this.#queue()
    queue.ending = true
    this.#schedule(queue)
  }

  /** Where to write the trailer that ends our direction; `endTrailer` must follow at once. */
  beginTrailer(): FrameWriter {
    assert(!this.#localDone)
    const queue = this.send
    let writer = this.#host.output.calls
    if (queue !== undefined && queue.queuedBytes > 0) {
      writer = new FrameWriter()
      queue.trailer = writer
    }
    writer.begin(FRAME.TRAILER, 0, this.id)
    return writer
  }

  endTrailer(writer: FrameWriter): void {
    writer.end()
    this.#isAnswered = true
    const queue = this.send
    if (queue?.trailer === undefined) this.localEnded()
    else this.#schedule(queue)
    this.#host.wake()
    this.#host.fitBacklog()
  }

  /** Ends both directions; what is queued is dropped. */
  reset(code: ErrorCode): void {
    if (this.isClosed) return
    this.#codeFrame(FRAME.RESET, code)
    if (!this.isInbound) this.#host.didReset()
    this.#finishBoth()
  }

  /** Asks the peer to send no more. What still comes must be consumed by the owner. */
  stop(code: ErrorCode): void {
    if (this.#remoteDone) return
    this.#codeFrame(FRAME.STOP, code)
  }

  /**
   * `count` received bytes are used up: the peer may send that many more. The window of a stream
   * that ended in good order stays reserved until its last byte is consumed or discarded.
   */
  consume(count: number): void {
    this.#receiver?.consume(count, !this.#remoteDone)
    if (this.isClosed && this.#receiver?.outstandingBytes === 0) this.#release()
  }

  /** Room for a message that is gathered while its bytes are consumed. See SessionWindow. */
  reserveMessage(bytes: number): boolean {
    return this.#host.window.reserveMessage(bytes)
  }
  releaseMessage(bytes: number): void {
    this.#host.window.releaseMessage(bytes)
  }

  /** Everything received and not yet consumed has been dropped by the owner. */
  discard(): void {
    if (this.isClosed) this.#release()
    else if (this.#receiver !== undefined) this.consume(this.#receiver.outstandingBytes)
  }

  // Inputs, from the session that owns the stream.

  /** The opener will want data: a window for it. Returns the credit for OPEN. @throws BUDGET_EXHAUSTED */
  reserveCredit(): number {
    const limit = this.#openWindow()
    if (limit !== undefined) return limit
    throw new PosternError('BUDGET_EXHAUSTED', 'no receive window is to be had for a new stream')
  }

  receiveAccept(limit: number): void {
    if (this.isInbound) throw unexpected('ACCEPT from the opener')
    if (this.#isAnswered) throw unexpected('a second answer')
    this.#isAnswered = true
    this.receiveLimit(limit)
    // A unary call reserved no window; that it was accepted says that its answer comes as data.
    if (this.#receiver === undefined && !this.#remoteDone) {
      const credit = this.#openWindow()
      if (credit === undefined) {
        this.abort('BUDGET_EXHAUSTED')
        return
      }
      this.#inbound(0).announce(credit)
    }
    this.sink?.onAccept(this)
  }

  receiveRefuse(code: ErrorCode, canRetry: boolean, text: string): void {
    if (this.isInbound) throw unexpected('REFUSE from the opener')
    if (this.#isAnswered || this.#hasBegun) throw unexpected('a second answer')
    const sink = this.sink
    this.#finishBoth()
    sink?.onRefuse(this, code, canRetry, text)
  }

  /** Returns false when the limit is no news. */
  receiveLimit(limit: number): boolean {
    if (this.#localDone) return true
    const queue = this.#queue()
    if (limit <= queue.limit) return false
    queue.limit = limit
    if (queue.queuedBytes > 0) this.#schedule(queue)
    else if (queue.isFull) {
      queue.isFull = false
      this.writable()
    }
    return true
  }

  receiveHeaders(bytes: Buffer, start: number, end: number): void {
    if (this.isInbound || this.#hasBegun || this.#remoteDone)
      throw unexpected('HEADERS where none may come')
    this.#hasBegun = true
    this.sink?.onHeaders?.(this, bytes, start, end)
  }

  receiveData(bytes: Buffer, isEnd: boolean): void {
    if (this.#remoteDone) throw unexpected('DATA after the end')
    if (!this.isInbound && !this.#isAnswered) throw unexpected('DATA before ACCEPT')
    this.#hasBegun = true
    if (bytes.length > 0) this.#takeData(bytes)
    if (!isEnd) return
    const sink = this.sink
    this.#remoteDone = true
    if (this.#localDone) this.#finish()
    sink?.onEnd(this)
  }

  receiveTrailer(bytes: Buffer, start: number, end: number): void {
    if (this.#remoteDone) throw unexpected('TRAILER after the end')
    if (this.isInbound) throw unexpected('TRAILER from the opener')
    this.#isAnswered = true
    this.#remoteDone = true
    const sink = this.sink
    if (this.#localDone) this.#finish()
    sink?.onTrailer(this, bytes, start, end)
  }

  receiveReset(code: ErrorCode): void {
    const sink = this.sink
    this.#finishBoth()
    sink?.onReset(this, code)
  }

  receiveStop(code: ErrorCode): void {
    if (this.#localDone) return
    if (this.isInbound && !this.#isAnswered) {
      this.abort(code)
      return
    }
    const queue = this.#queue()
    queue.clear()
    queue.isStopped = true
    if (queue.trailer === undefined) queue.ending = this.sink?.endsStopped?.(this) !== true
    this.#schedule(queue)
    this.sink?.onStop(this, code)
  }

  /** Resets a stream of ours that cannot go on, and tells its owner. */
  abort(code: ErrorCode): void {
    if (this.isClosed) return
    const sink = this.sink
    this.reset(code)
    sink?.onReset(this, code)
  }

  localEnded(): void {
    this.#localDone = true
    this.#dropQueue()
    if (this.#remoteDone) this.#finish()
  }

  writable(): void {
    this.sink?.onWritable(this)
  }

  sentBytes(count: number): void {
    this.sink?.onSent?.(this, count)
  }

  #takeData(bytes: Buffer): void {
    const { streamCreditBytes } = this.#host.window.limits
    this.#inbound(this.isInbound ? streamCreditBytes : 0).charge(bytes.length)
    if (this.sink !== undefined) this.sink.onData(this, bytes)
    else (this.#early ??= new ByteQueue()).push(bytes)
  }

  #inbound(creditBytes: number): StreamReceiver {
    return (this.#receiver ??= new StreamReceiver(this.#host, this.id, creditBytes))
  }

  #openWindow(): number | undefined {
    return this.#inbound(0).open()
  }

  #queue(): SendQueue {
    const { peerStreamCredit, window } = this.#host
    return (this.send ??= new SendQueue(this.isInbound ? 0 : peerStreamCredit, window))
  }

  #schedule(queue: SendQueue): void {
    const hasEnd = queue.ending || queue.trailer !== undefined
    if (queue.limit <= queue.sent && !(queue.queuedBytes === 0 && hasEnd)) return
    this.#host.output.ready(this)
    this.#host.wake()
  }

  #codeFrame(type: number, code: ErrorCode): void {
    this.#host.output.writeCode(type, this.id, code, !this.isInbound && !this.#isAnswered)
    this.#host.wake()
  }

  /** In good order: what the owner has not used yet stays on the account. */
  #finish(): void {
    this.#localDone = true
    this.#remoteDone = true
    this.#dropQueue()
    this.sink = undefined
    if (this.#receiver?.outstandingBytes === 0) this.#release()
    this.#host.forget(this)
    this.#onClosed?.()
  }

  /** At once: the owner holds nothing of this stream any more. */
  #finishBoth(): void {
    this.#early = undefined
    this.#release()
    this.#finish()
  }

  #dropQueue(): void {
    this.send?.clear()
    this.send = undefined
  }

  #release(): void {
    const receiver = this.#receiver
    this.#receiver = undefined
    receiver?.release()
  }
}

function unexpected(what: string): PosternError {
  return new PosternError('PROTOCOL_VIOLATION', `${what} on a stream`, { what })
}
