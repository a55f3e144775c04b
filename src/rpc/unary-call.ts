import type { Deadlined } from '../base/deadline-wheel.ts'
import { printable, type ErrorCode } from '../base/errors.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'
import { decodeMetadata } from '../wire/metadata.ts'
import { readTrailer, type Trailer } from '../wire/trailer.ts'
import { BodyCollector } from './body-collector.ts'
import type { CallOptions } from './call-options.ts'
import type { RpcRuntime } from './runtime.ts'
import { asRpcError, RpcError, rpcErrorOfCode, statusName, statusNumber } from './status.ts'

const TEXT_CHARS_MAX = 1000

/** A unary call that was made and not yet answered. It settles exactly once. */
export class UnaryCall implements StreamSink, Deadlined {
  deadlineAtMs = 0
  wheelPrevious: Deadlined | undefined
  wheelNext: Deadlined | undefined
  readonly #runtime: RpcRuntime
  readonly #options: AnswerOptions
  readonly #resolve: (body: Buffer) => void
  readonly #reject: (error: RpcError) => void
  #stream: MuxStream | undefined
  #collector: BodyCollector | undefined
  #isSettled = false

  constructor(
    runtime: RpcRuntime,
    options: AnswerOptions,
    resolve: (body: Buffer) => void,
    reject: (error: RpcError) => void,
  ) {
    this.#runtime = runtime
    this.#options = options
    this.#resolve = resolve
    this.#reject = reject
  }

  begin(stream: MuxStream, timeoutMs: number): void {
    this.#stream = stream
    this.#options.signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (timeoutMs === 0) return
    this.deadlineAtMs = this.#runtime.clock.nowMs() + timeoutMs
    this.#runtime.watchDeadline(this)
  }

  onDeadline(): void {
    this.#giveUp('DEADLINE_EXCEEDED')
  }

  onAccept(stream: MuxStream): void {
    this.#collector = new BodyCollector(stream, this.#runtime.limits.messageBytesMax)
  }

  onHeaders(stream: MuxStream, bytes: Buffer, start: number, end: number): void {
    if (this.#isSettled) return
    try {
      tellHeaders(this.#options, bytes, start, end)
    } catch (error) {
      this.#fail(asRpcError(error))
      stream.reset('MALFORMED_CALL')
    }
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    stream.consume(bytes.length)
    if (this.#isSettled) return
    try {
      this.#collector?.add(bytes)
    } catch (error) {
      this.#fail(asRpcError(error))
      stream.reset('MESSAGE_TOO_LARGE')
    }
  }

  onEnd(stream: MuxStream): void {
    this.#fail(rpcErrorOfCode('MALFORMED_CALL', 'the answer ended without a status'))
    stream.reset('MALFORMED_CALL')
  }

  onTrailer(stream: MuxStream, bytes: Buffer, start: number, end: number): void {
    let trailer: Trailer
    try {
      trailer = readTrailer(bytes, start, end)
      if (!this.#isSettled) tellTrailers(this.#options, trailer)
    } catch (error) {
      this.#fail(asRpcError(error))
      return
    }
    if (!stream.hasLocalEnded) stream.reset('CANCELLED')
    if (trailer.status !== 0) this.#fail(errorOfTrailer(trailer))
    else if (this.#collector?.isEmpty === false) this.#succeed(this.#collector.take())
    else this.#succeed(bytes.subarray(trailer.bodyStart, end))
  }

  onRefuse(_stream: MuxStream, code: ErrorCode, _canRetry: boolean, text: string): void {
    this.#fail(rpcErrorOfCode(code, text, true))
  }

  onReset(_stream: MuxStream, code: ErrorCode): void {
    this.#fail(rpcErrorOfCode(code, ''))
  }

  onWritable(): void {
    // The request was queued whole.
  }

  onStop(): void {
    // The answer says why.
  }

  readonly #onAbort = (): void => {
    this.#giveUp('CANCELLED')
  }

  #giveUp(code: ErrorCode): void {
    if (this.#isSettled) return
    this.#fail(rpcErrorOfCode(code, ''))
    this.#stream?.reset(code)
  }

  #succeed(body: Buffer): void {
    if (!this.#settle(0)) return
    this.#collector?.drop()
    this.#resolve(body)
  }

  #fail(error: RpcError): void {
    if (!this.#settle(statusNumber(error.status))) return
    this.#collector?.drop()
    this.#reject(error)
  }

  #settle(status: number): boolean {
    if (this.#isSettled) return false
    this.#isSettled = true
    this.#runtime.made[status] = (this.#runtime.made[status] ?? 0) + 1
    if (this.deadlineAtMs > 0) this.#runtime.forgetDeadline(this)
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    return true
  }
}

/** What of the options of a call is asked for once it was made. */
export type AnswerOptions = Pick<CallOptions, 'signal' | 'onHeaders' | 'onTrailers'>

/** Tells whoever made a call what its answer begins with. @throws MALFORMED_CALL, HEAD_TOO_LARGE */
export function tellHeaders(
  { onHeaders }: AnswerOptions,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  onHeaders?.(decodeMetadata(bytes, start, end))
}

/** Tells whoever made a call the metadata that came with its status. @throws MALFORMED_CALL, HEAD_TOO_LARGE */
export function tellTrailers({ onTrailers }: AnswerOptions, { metadata }: Trailer): void {
  if (onTrailers !== undefined && metadata.length > 0) onTrailers(decodeMetadata(metadata))
}

/** The error that a trailer with a status other than OK stands for. */
export function errorOfTrailer(trailer: Trailer): RpcError {
  try {
    return new RpcError(statusName(trailer.status), printable(trailer.text, TEXT_CHARS_MAX), {
      isRemote: true,
      metadata: decodeMetadata(trailer.metadata),
    })
  } catch (error) {
    return asRpcError(error)
  }
}
