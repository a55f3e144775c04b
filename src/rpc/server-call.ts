import type { Deadlined } from '../base/deadline-wheel.ts'
import { PosternError, type ErrorCode } from '../base/errors.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'
import { PAYLOAD_BYTES_MAX } from '../wire/frame.ts'
import { encodeMetadata } from '../wire/metadata.ts'
import { TRAILER_BYTES_MIN, writeTrailer } from '../wire/trailer.ts'
import { BodyCollector, messageTooLarge } from './body-collector.ts'
import type { CallContext } from './call-context.ts'
import { MessageReader } from './message-reader.ts'
import { MessageWriter, stoppedReading } from './message-writer.ts'
import type { RpcRuntime } from './runtime.ts'
import type { MethodHandler } from './service.ts'
import { RpcError, rpcErrorOfCode, statusNumber } from './status.ts'

const NONE = Buffer.alloc(0)
const INTERNAL_ID_BYTES = 8
const ANSWER_BYTES_MAX = PAYLOAD_BYTES_MAX - TRAILER_BYTES_MIN

/** One call being served. It ends exactly once: by its answer, its deadline, or its stream's end. */
export class ServerCall implements StreamSink, Deadlined {
  deadlineAtMs = 0
  wheelPrevious: Deadlined | undefined
  wheelNext: Deadlined | undefined
  readonly #runtime: RpcRuntime
  readonly #stream: MuxStream
  readonly #context: CallContext
  readonly #onEnded: (status: number) => void
  #hasEnded = false
  #isAccepted = false
  #requestBytesMax = 0
  #collector: BodyCollector | undefined
  #onBody: ((body: Buffer) => void) | undefined
  #reader: MessageReader | undefined
  #writer: MessageWriter | undefined

  constructor(
    runtime: RpcRuntime,
    stream: MuxStream,
    context: CallContext,
    onEnded: (status: number) => void,
  ) {
    this.#runtime = runtime
    this.#stream = stream
    this.#context = context
    this.#onEnded = onEnded
    stream.sink = this
    if (context.deadlineAtMs === undefined) return
    this.deadlineAtMs = context.deadlineAtMs
    runtime.watchDeadline(this)
  }

  /** `body`: the whole request where it came with the OPEN. */
  start(handler: MethodHandler, body: Buffer | undefined, requestBytesMax = Infinity): void {
    this.#requestBytesMax = Math.min(requestBytesMax, this.#runtime.limits.messageBytesMax)
    const context = this.#context
    switch (handler.kind) {
      case 'unary':
        this.#withBody(body, (request) => {
          this.#answerWith(() => handler.handle(request, context))
        })
        return
      case 'serverStream':
        this.#withBody(body, (request) => {
          if (this.#accept()) void this.#pump(() => handler.handle(request, context))
        })
        return
      case 'clientStream':
        this.#withMessages((requests) => {
          this.#answerWith(() => handler.handle(requests, context))
        })
        return
      case 'bidi':
        this.#withMessages((requests) => void this.#pump(() => handler.handle(requests, context)))
    }
  }

  onDeadline(): void {
    this.#abandon(rpcErrorOfCode('DEADLINE_EXCEEDED', ''))
  }

  onAccept(): void {
    // Only streams that we open are accepted by the peer.
  }

  onRefuse(): void {
    // Likewise.
  }

  onTrailer(): void {
    // The opener of a stream ends its direction by END.
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    if (this.#reader !== undefined) this.#reader.push(bytes)
    else {
      stream.consume(bytes.length)
      this.#collect(bytes)
    }
  }

  onEnd(): void {
    this.#reader?.end()
    const body = this.#collector?.take()
    if (body !== undefined && !this.#hasEnded) this.#onBody?.(body)
  }

  onReset(_stream: MuxStream, code: ErrorCode): void {
    if (this.#hasEnded) return
    this.#end(statusNumber('CANCELLED'))
    this.#release(rpcErrorOfCode(code, ''))
  }

  onWritable(): void {
    this.#writer?.resume()
  }

  onStop(): void {
    this.#fail(stoppedReading())
  }

  #accept(): boolean {
    if (this.#isAccepted || this.#hasEnded) return this.#isAccepted
    try {
      this.#stream.accept(this)
      this.#isAccepted = true
    } catch {
      // The stream was refused for want of a window; nothing was started.
      this.#end(statusNumber('RESOURCE_EXHAUSTED'))
    }
    return this.#isAccepted
  }

  #withBody(body: Buffer | undefined, use: (body: Buffer) => void): void {
    if (body !== undefined) {
      use(body)
      return
    }
    this.#collector = new BodyCollector(this.#stream, this.#requestBytesMax)
    this.#onBody = use
    this.#accept()
  }

  #withMessages(use: (messages: MessageReader) => void): void {
    this.#reader = new MessageReader(this.#runtime, this.#stream)
    if (this.#accept()) use(this.#reader)
  }

  #collect(bytes: Buffer): void {
    if (this.#hasEnded) return
    try {
      this.#collector?.add(bytes)
    } catch (error) {
      this.#fail(error)
    }
  }

  #answerWith(handle: () => Promise<Uint8Array> | Uint8Array): void {
    try {
      const result = handle()
      if (result instanceof Promise) result.then(this.#answer, this.#fail)
      else this.#answer(result)
    } catch (error) {
      this.#fail(error)
    }
  }

  readonly #answer = (body: Uint8Array): void => {
    if (this.#hasEnded) return
    if (body.length <= ANSWER_BYTES_MAX) {
      this.#finish(0, '', NONE, body)
      return
    }
    const { messageBytesMax } = this.#runtime.limits
    if (body.length > messageBytesMax) {
      this.#fail(messageTooLarge(messageBytesMax))
    } else if (this.#accept()) {
      this.#stream.write(body)
      this.#finish(0, '', NONE, NONE)
    }
  }

  readonly #fail = (error: unknown): void => {
    if (this.#hasEnded) return
    this.#abandon(this.#asAnswer(error))
  }

  #asAnswer(error: unknown): RpcError {
    if (error instanceof RpcError) return error
    if (error instanceof PosternError) return rpcErrorOfCode(error.code, error.rawMessage)
    const id = this.#runtime.random.hex(INTERNAL_ID_BYTES)
    const facts = {
      err: error,
      errorId: id,
      method: this.#context.name,
      caller: this.#context.caller,
    }
    this.#runtime.logger.error(facts, 'a handler failed')
    return new RpcError(
      'INTERNAL',
      `INTERNAL: the handler failed; id ${id} in the log of this agent`,
    )
  }

  async #pump(handle: () => AsyncIterable<Uint8Array>): Promise<void> {
    const writer = new MessageWriter(this.#runtime, this.#stream)
    this.#writer = writer
    try {
      for await (const message of handle()) await writer.write(message)
      if (!this.#hasEnded) this.#finish(0, '', NONE, NONE)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Answers with an error, and lets go of everything the handler may still hold. */
  #abandon(error: RpcError): void {
    let metadata: Buffer = NONE
    try {
      metadata = encodeMetadata(error.metadata)
    } catch {
      // A handler's unfit metadata is dropped rather than its status.
    }
    this.#finish(statusNumber(error.status), error.rawMessage, metadata, NONE)
    this.#release(error)
  }

  #finish(status: number, text: string, metadata: Buffer, body: Uint8Array): void {
    const stream = this.#stream
    this.#end(status)
    if (stream.hasLocalEnded) return
    const writer = stream.beginTrailer()
    writeTrailer(writer, status, text, metadata, body)
    stream.endTrailer(writer)
    stream.stop('CANCELLED')
    this.#reader?.fail(stoppedReading())
  }

  #release(reason: Error): void {
    this.#context.abort(reason)
    this.#collector?.drop()
    this.#reader?.fail(reason)
    this.#writer?.fail(reason)
  }

  #end(status: number): void {
    this.#hasEnded = true
    this.#runtime.served[status] = (this.#runtime.served[status] ?? 0) + 1
    if (this.deadlineAtMs > 0) this.#runtime.forgetDeadline(this)
    this.#onEnded(status)
  }
}
