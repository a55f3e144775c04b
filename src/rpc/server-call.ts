import type { Deadlined } from '../base/deadline-wheel.ts'
import { PosternError, type ErrorCode } from '../base/errors.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'
import { PAYLOAD_BYTES_MAX } from '../wire/frame.ts'
import {
  encodeMetadata,
  METADATA_BYTES_MAX,
  TRAILER_METADATA_BYTES_MAX,
  type Metadata,
} from '../wire/metadata.ts'
import { TRAILER_BYTES_MIN, writeTrailer } from '../wire/trailer.ts'
import { BodyCollector, messageTooLarge } from './body-collector.ts'
import { callerText } from '../contract/caller.ts'
import type { CallContext } from './call-context.ts'
import { failureFacts } from './failure-facts.ts'
import { MessageReader } from './message-reader.ts'
import { MessageWriter, stoppedReading } from './message-writer.ts'
import type { RpcRuntime } from './runtime.ts'
import type { MethodHandler } from './service.ts'
import { RpcError, rpcErrorOfCode, statusNumber } from './status.ts'

const NONE = Buffer.alloc(0)
/** Of a call with one answer whose caller sets none, in ms: nothing that a peer starts lasts for ever. */
const DEADLINE_DEFAULT_MS = 600_000
/** What a call that waits for its handler holds beside its request, in bytes. */
const CALL_BYTES = 1024
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
  #hasWritten = false
  #heldBytes = 0
  #requestBytesMax = 0
  #messageBytesMax = 0
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
    const { permit } = this.#context
    const { messageBytesMax } = this.#runtime.limits
    this.#messageBytesMax = Math.min(permit.messageBytesMax, messageBytesMax)
    this.#requestBytesMax = Math.min(requestBytesMax, this.#messageBytesMax)
    permit.onWithdrawn = ({ code, text }) => {
      this.#fail(rpcErrorOfCode(code, text))
    }
    const context = this.#context
    context.onHeaders = (metadata) => {
      this.#begin(metadata)
    }
    if (this.deadlineAtMs === 0 && (handler.kind === 'unary' || handler.kind === 'clientStream')) {
      this.deadlineAtMs = this.#runtime.clock.nowMs() + DEADLINE_DEFAULT_MS
      this.#runtime.watchDeadline(this)
    }
    switch (handler.kind) {
      case 'unary':
        this.#withBody(body, (request) => {
          this.#answerWith(() => handler.handle(request, context), request.length)
        })
        return
      case 'serverStream':
        this.#withBody(body, (request) => {
          if (this.#accept()) void this.#pump(() => handler.handle(request, context))
        })
        return
      case 'clientStream':
        this.#withMessages((requests) => {
          this.#answerWith(() => handler.handle(requests, context), 0)
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
    if (!this.#hasEnded) this.#passes('in', bytes.length)
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

  /** Counts bytes that cross; false where they may not, and the call has ended. */
  #passes(direction: 'in' | 'out', bytes: number): boolean {
    const denial = this.#context.permit.pass(direction, bytes)
    if (denial !== undefined) this.#fail(rpcErrorOfCode(denial.code, denial.text))
    return denial === undefined
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
      if (body.length > this.#requestBytesMax) this.#fail(messageTooLarge(this.#requestBytesMax))
      else if (this.#passes('in', body.length)) use(body)
      return
    }
    this.#collector = new BodyCollector(this.#stream, this.#requestBytesMax)
    this.#onBody = use
    this.#accept()
  }

  #withMessages(use: (messages: MessageReader) => void): void {
    this.#reader = new MessageReader(this.#requestBytesMax, this.#stream)
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

  #answerWith(handle: () => Promise<Uint8Array> | Uint8Array, requestBytes: number): void {
    try {
      const result = handle()
      if (!(result instanceof Promise)) this.#answer(result)
      else {
        result.then(this.#answer, this.#fail)
        this.#hold(requestBytes + CALL_BYTES)
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Keeps bytes in the budget until the call has ended; without room for them it ends now. */
  #hold(bytes: number): void {
    if (this.#hasEnded) return
    if (this.#stream.reserveMessage(bytes)) this.#heldBytes += bytes
    else this.#fail(noRoom())
  }

  readonly #answer = (body: Uint8Array): void => {
    if (this.#hasEnded) return
    if (body.length > this.#messageBytesMax) {
      this.#fail(messageTooLarge(this.#messageBytesMax))
      return
    }
    if (!this.#passes('out', body.length)) return
    // Callers of version 0.1.0 take the DATA, if any, of a stream that was accepted for a long request, and no body behind it.
    const isPlain = this.#collector === undefined || body.length === 0
    const metadata = this.#told(this.#context.trailers, TRAILER_METADATA_BYTES_MAX)
    if (isPlain && body.length + metadata.length <= ANSWER_BYTES_MAX)
      this.#finish(0, '', metadata, body)
    else if (this.#accept()) {
      this.#stream.write(body)
      // Without room in the budget the stream is reset.
      if (!this.#stream.hasLocalEnded) this.#finish(0, '', metadata, NONE)
    }
  }

  readonly #fail = (error: unknown): void => {
    if (this.#hasEnded) return
    this.#abandon(this.#asAnswer(error))
  }

  #asAnswer(error: unknown): RpcError {
    if (error instanceof RpcError) return error.isRemote ? withoutText(error) : error
    if (error instanceof PosternError) return rpcErrorOfCode(error.code, error.rawMessage)
    const id = this.#runtime.random.hex(INTERNAL_ID_BYTES)
    const facts = {
      ...failureFacts(error),
      errorId: id,
      method: this.#context.name,
      caller: callerText(this.#context.caller),
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
      await writer.ready()
      await this.#writeAll(writer, handle()[Symbol.asyncIterator]())
      if (this.#hasEnded) return
      const metadata = this.#told(this.#context.trailers, TRAILER_METADATA_BYTES_MAX)
      this.#finish(0, '', metadata, NONE)
    } catch (error) {
      this.#fail(error)
    }
  }

  async #writeAll(writer: MessageWriter, messages: AsyncIterator<Uint8Array>): Promise<void> {
    const { making } = this.#runtime
    const { name } = this.#context
    try {
      for (;;) {
        const giveBack = await making.take(name, this.#stream)
        try {
          // Ended while it waited: nothing more is made.
          if (this.#hasEnded) return
          const next = await messages.next()
          if (next.done === true) return
          making.learn(name, next.value.length)
          giveBack()
          const { length } = next.value
          if (length > this.#messageBytesMax) throw messageTooLarge(this.#messageBytesMax)
          if (!this.#passes('out', length)) return
          this.#hasWritten = true
          await writer.write(next.value)
        } finally {
          giveBack()
        }
      }
    } finally {
      await messages.return?.()
    }
  }

  /** The answer begins with metadata: nothing of it has been written yet. */
  #begin(metadata: Metadata): void {
    if (this.#hasEnded || this.#hasWritten) return
    const block = this.#told(metadata, METADATA_BYTES_MAX)
    if (block.length === 0 || !this.#passes('out', block.length)) return
    this.#stream.writeHeaders(block, 0, block.length)
  }

  /** Metadata as far as the policy lets it through, encoded. */
  #told(metadata: Metadata, bytesMax: number): Buffer {
    const told = Object.entries(metadata).filter(([name]) => this.#context.permit.mayTell(name))
    if (told.length === 0) return NONE
    try {
      return encodeMetadata(Object.fromEntries(told), bytesMax)
    } catch {
      // A handler's unfit metadata is dropped rather than its answer.
      return NONE
    }
  }

  /** Answers with an error, and lets go of everything the handler may still hold. */
  #abandon(error: RpcError): void {
    const metadata = this.#told(error.metadata, TRAILER_METADATA_BYTES_MAX)
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
    if (this.#heldBytes > 0) this.#stream.releaseMessage(this.#heldBytes)
    this.#heldBytes = 0
    this.#collector?.drop()
    this.#onEnded(status)
  }
}

/** What somebody behind this side said of an error is not passed on: the status alone is. */
function withoutText({ status, code, metadata }: RpcError): RpcError {
  const text = `the service behind this agent answered ${status}`
  return new RpcError(status, text, { metadata, ...(code === undefined ? {} : { code }) })
}

function noRoom(): PosternError {
  return new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for this call')
}
