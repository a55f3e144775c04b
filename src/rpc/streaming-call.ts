import type { Deadlined } from '../base/deadline-wheel.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'
import { readTrailer, type Trailer } from '../wire/trailer.ts'
import { BodyCollector } from './body-collector.ts'
import { MessageReader } from './message-reader.ts'
import { MessageWriter, stoppedReading } from './message-writer.ts'
import type { RpcRuntime } from './runtime.ts'
import { asRpcError, RpcError, rpcErrorOfCode, statusNumber } from './status.ts'
import { errorOfTrailer, tellHeaders, tellTrailers, type AnswerOptions } from './unary-call.ts'

const NONE = Buffer.alloc(0)
const nothing = (): void => undefined

/** A streaming call that we made, of any of the three kinds. It ends exactly once. */
export class StreamingCall implements StreamSink, Deadlined {
  deadlineAtMs = 0
  wheelPrevious: Deadlined | undefined
  wheelNext: Deadlined | undefined
  readonly #runtime: RpcRuntime
  readonly #options: AnswerOptions
  #stream: MuxStream | undefined
  #reader: MessageReader | undefined
  #writer: MessageWriter | undefined
  /** Of a client-streaming call, whose answer is one body. */
  #collector: BodyCollector | undefined
  readonly #response = Promise.withResolvers<Buffer>()
  #hasEnded = false
  #error: RpcError | undefined

  constructor(runtime: RpcRuntime, options: AnswerOptions) {
    this.#runtime = runtime
    this.#options = options
    // Nobody may be waiting for the single response; its failure must not end the process.
    this.#response.promise.catch(() => undefined)
  }

  begin(stream: MuxStream, isSingleResponse: boolean, timeoutMs: number): void {
    this.#stream = stream
    this.#writer = new MessageWriter(this.#runtime, stream)
    if (isSingleResponse) {
      this.#collector = new BodyCollector(stream, this.#runtime.limits.messageBytesMax)
    } else this.#reader = new MessageReader(this.#runtime.limits.messageBytesMax, stream)
    this.#options.signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (timeoutMs === 0) return
    this.deadlineAtMs = this.#runtime.clock.nowMs() + timeoutMs
    this.#runtime.watchDeadline(this)
  }

  failBeforeStart(error: RpcError): void {
    this.#end(error)
  }

  /** An iterator of its own, as a suspended generator would hold on to the last message. */
  responses(): AsyncIterableIterator<Buffer, undefined> {
    const reader = this.#reader
    let previous: Promise<void> = Promise.resolve()
    const step = async (): Promise<IteratorResult<Buffer, undefined>> => {
      try {
        if (reader !== undefined) return await reader.next()
      } catch (error) {
        this.#giveUp('CANCELLED')
        throw asRpcError(error)
      }
      throw this.#error ?? new RpcError('INTERNAL', 'the call was not begun')
    }
    const iterator: AsyncIterableIterator<Buffer, undefined> = {
      next: () => {
        const result = previous.then(step)
        previous = result.then(nothing, nothing)
        return result
      },
      // The caller leaves the iteration early: it wants no more of this call.
      return: () => {
        if (!this.#hasEnded) this.#giveUp('CANCELLED')
        reader?.fail(stoppedReading())
        return Promise.resolve({ done: true, value: undefined })
      },
      [Symbol.asyncIterator]: () => iterator,
    }
    return iterator
  }

  response(): Promise<Buffer> {
    return this.#response.promise
  }

  /** Sends all requests, then half-closes. A failing source cancels the call. */
  async send(requests: AsyncIterable<Uint8Array>): Promise<void> {
    const writer = this.#writer
    if (writer === undefined) return
    try {
      for await (const request of requests) {
        if (this.#hasEnded) return
        await writer.write(request)
      }
      this.#stream?.end()
    } catch (error) {
      if (this.#hasEnded || this.#stream?.hasLocalEnded === true) return
      this.#end(asRpcError(error))
      this.#stream?.reset('CANCELLED')
    }
  }

  onDeadline(): void {
    this.#giveUp('DEADLINE_EXCEEDED')
  }

  onAccept(): void {
    // What was queued goes on by itself.
  }

  onHeaders(stream: MuxStream, bytes: Buffer, start: number, end: number): void {
    if (this.#hasEnded) return
    try {
      tellHeaders(this.#options, bytes, start, end)
    } catch (error) {
      const failure = asRpcError(error)
      this.#reader?.fail(failure)
      this.#end(failure)
      stream.reset('MALFORMED_CALL')
    }
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    if (this.#reader !== undefined) {
      this.#reader.push(bytes)
      return
    }
    stream.consume(bytes.length)
    try {
      if (!this.#hasEnded) this.#collector?.add(bytes)
    } catch (error) {
      this.#end(asRpcError(error))
      stream.reset('MESSAGE_TOO_LARGE')
    }
  }

  onEnd(stream: MuxStream): void {
    this.#end(rpcErrorOfCode('MALFORMED_CALL', 'the answer ended without a status'))
    stream.reset('MALFORMED_CALL')
  }

  onTrailer(stream: MuxStream, bytes: Buffer, start: number, end: number): void {
    let trailer: Trailer
    try {
      trailer = readTrailer(bytes, start, end)
      if (!this.#hasEnded) tellTrailers(this.#options, trailer)
    } catch (error) {
      this.#end(asRpcError(error))
      stream.reset('MALFORMED_CALL')
      return
    }
    const body = this.#collector?.take() ?? NONE
    const inline = bytes.subarray(trailer.bodyStart, end)
    if (trailer.status !== 0) this.#end(errorOfTrailer(trailer))
    else this.#end(undefined, body.length > 0 ? body : inline)
    // The other side has answered: whatever is left of our direction is of no use to it.
    if (!stream.hasLocalEnded) stream.end()
  }

  onRefuse(_stream: MuxStream, code: ErrorCode, _canRetry: boolean, text: string): void {
    this.#end(rpcErrorOfCode(code, text, true))
  }

  onReset(_stream: MuxStream, code: ErrorCode): void {
    const error = rpcErrorOfCode(code, '')
    this.#reader?.fail(error)
    this.#end(error)
  }

  onWritable(): void {
    this.#writer?.resume()
  }

  onStop(): void {
    this.#writer?.fail(stoppedReading())
  }

  readonly #onAbort = (): void => {
    this.#giveUp('CANCELLED')
  }

  #giveUp(code: ErrorCode): void {
    if (this.#hasEnded) return
    const error = rpcErrorOfCode(code, '')
    this.#reader?.fail(error)
    this.#end(error)
    this.#stream?.reset(code)
  }

  #end(error: RpcError | undefined, body: Buffer = NONE): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#error = error
    const status = error === undefined ? 0 : statusNumber(error.status)
    this.#runtime.made[status] = (this.#runtime.made[status] ?? 0) + 1
    if (this.deadlineAtMs > 0) this.#runtime.forgetDeadline(this)
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.#reader?.end(error)
    this.#writer?.fail(error ?? stoppedReading())
    this.#collector?.drop()
    if (error === undefined) this.#response.resolve(body)
    else this.#response.reject(error)
  }
}
