import { PosternError } from '../base/errors.ts'
import type { MuxSession } from '../mux/session.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'
import type { CallKind } from '../contract/call-guard.ts'
import { USER_TOKEN } from '../contract/user.ts'
import { dataTypeNumber } from '../contract/data-type.ts'
import { encodeMetadata, type Metadata } from '../wire/metadata.ts'
import {
  bodyRoom,
  encodeRoute,
  TRACEPARENT,
  writeHead,
  type HeadFields,
  type Kind,
  KIND,
} from '../wire/open-head.ts'
import { FEATURE_SEALED } from '../wire/hello.ts'
import { messageTooLarge } from './body-collector.ts'
import type { CallOptions } from './call-options.ts'
import type { RpcRuntime } from './runtime.ts'
import { KIND_NUMBERS } from './service.ts'
import { asRpcError, rpcErrorOfCode } from './status.ts'
import { StreamingCall } from './streaming-call.ts'
import { UnaryCall } from './unary-call.ts'

const TIMEOUT_MS_MAX = 0xffff_ffff
const NONE = Buffer.alloc(0)
const ROUTES_MAX = 1024

export type { CallOptions } from './call-options.ts'

/** Makes calls over one session, to one cluster or to the peer itself. */
export class RpcChannel {
  readonly #runtime: RpcRuntime
  readonly #session: MuxSession
  readonly #cluster: string
  readonly #caller: string
  readonly #routes = new Map<string, Buffer>()

  /**
   * `cluster`: whom the peer should pass the calls to; empty: the peer itself. `caller`: the service in whose name a
   * gateway calls; empty: its own.
   */
  constructor(runtime: RpcRuntime, session: MuxSession, cluster = '', caller = '') {
    this.#runtime = runtime
    this.#session = session
    this.#cluster = cluster
    this.#caller = caller
  }

  /** One request, one response. @throws RpcError */
  unary(method: string, request: Uint8Array, options: CallOptions = NO_OPTIONS): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      try {
        const head = this.#head('unary', method, options)
        const call = new UnaryCall(this.#runtime, options, resolve, reject)
        const stream = this.#openWithBody(call, head, request, false)
        call.begin(stream, head.timeoutMs)
      } catch (error) {
        reject(asRpcError(error, true))
      }
    })
  }

  /** One request, many responses. Errors come out of the iteration, as RpcError. */
  serverStream(
    method: string,
    request: Uint8Array,
    options: CallOptions = NO_OPTIONS,
  ): AsyncIterable<Buffer> {
    return this.#streaming('serverStream', method, options, request).responses()
  }

  /** Many requests, one response. @throws RpcError */
  async clientStream(
    method: string,
    requests: AsyncIterable<Uint8Array>,
    options: CallOptions = NO_OPTIONS,
  ): Promise<Buffer> {
    const call = this.#streaming('clientStream', method, options, undefined)
    void call.send(requests)
    return await call.response()
  }

  /** Many requests, many responses, each at its own pace. */
  bidi(
    method: string,
    requests: AsyncIterable<Uint8Array>,
    options: CallOptions = NO_OPTIONS,
  ): AsyncIterable<Buffer> {
    const call = this.#streaming('bidi', method, options, undefined)
    void call.send(requests)
    return call.responses()
  }

  /** A byte stream to a named service. The sink is told how it goes. @throws PosternError */
  forward(service: string, sink: StreamSink, options: CallOptions = NO_OPTIONS): MuxStream {
    const head = this.#head('forward', service, options)
    const stream = this.#session.beginOpen(sink, false, true)
    writeHead(this.#session.writer, head)
    this.#session.endOpen()
    return stream
  }

  /** A byte stream to an agent of the cluster, for a sealed session. The sink is told how it goes. @throws PosternError */
  sealed(sink: StreamSink, options: CallOptions = NO_OPTIONS): MuxStream {
    if (!this.#session.peerHas(FEATURE_SEALED))
      throw new PosternError('METHOD_UNKNOWN', 'the peer passes on no sealed sessions')
    const head = { ...this.#head('forward', '', options), kind: KIND.sealed }
    const stream = this.#session.beginOpen(sink, false, true)
    writeHead(this.#session.writer, head)
    this.#session.endOpen()
    return stream
  }

  #streaming(
    kind: 'serverStream' | 'clientStream' | 'bidi',
    method: string,
    options: CallOptions,
    request: Uint8Array | undefined,
  ): StreamingCall {
    const call = new StreamingCall(this.#runtime, options)
    try {
      const head = this.#head(kind, method, options)
      let stream: MuxStream
      if (request === undefined) {
        stream = this.#session.beginOpen(call, false, true)
        writeHead(this.#session.writer, head)
        this.#session.endOpen()
      } else stream = this.#openWithBody(call, head, request, true)
      call.begin(stream, kind === 'clientStream', head.timeoutMs)
    } catch (error) {
      call.failBeforeStart(asRpcError(error, true))
    }
    return call
  }

  /** In one frame with its head where it fits; as DATA behind it where not. */
  #openWithBody(
    sink: StreamSink,
    head: HeadFields,
    body: Uint8Array,
    wantsData: boolean,
  ): MuxStream {
    const { messageBytesMax } = this.#runtime.limits
    if (body.length > messageBytesMax) throw messageTooLarge(messageBytesMax)
    const fits = body.length <= bodyRoom(head)
    const session = this.#session
    const stream = session.beginOpen(sink, fits, wantsData)
    writeHead(session.writer, head)
    if (fits) session.writer.bytes(body)
    session.endOpen()
    if (!fits) {
      stream.write(body)
      stream.end()
    }
    return stream
  }

  #head(kind: CallKind, name: string, options: CallOptions): HeadFields {
    const { timeoutMs = 0, signal, traceparent = '', dataType } = options
    const metadata = metadataOf(options)
    if (signal?.aborted === true) throw rpcErrorOfCode('CANCELLED', '', true)
    if (!(timeoutMs >= 0 && timeoutMs <= TIMEOUT_MS_MAX)) {
      throw new PosternError('MALFORMED_CALL', `timeoutMs ${String(timeoutMs)} is out of range`)
    }
    if (traceparent !== '' && !TRACEPARENT.test(traceparent)) {
      throw new PosternError(
        'MALFORMED_CALL',
        'traceparent is not of the form of W3C Trace Context',
      )
    }
    const kindNumber: Kind = KIND_NUMBERS[kind]
    const head = {
      kind: kindNumber,
      dataType: dataTypeNumber(dataType),
      timeoutMs: Math.ceil(timeoutMs),
      route: this.#route(name),
      traceparent,
      metadata: metadata === undefined ? NONE : encodeMetadata(metadata),
    }
    if (bodyRoom(head) >= 0) return head
    throw new PosternError('HEAD_TOO_LARGE', 'names and metadata together exceed one frame')
  }

  /** The encoded names of a call, kept, as a caller uses few of them very often. */
  #route(name: string): Buffer {
    const known = this.#routes.get(name)
    if (known !== undefined) return known
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear()
    const route = encodeRoute(this.#cluster, this.#caller, name)
    this.#routes.set(name, route)
    return route
  }
}

function metadataOf({ metadata, userToken }: CallOptions): Metadata | undefined {
  return userToken === undefined ? metadata : { ...metadata, [USER_TOKEN]: userToken }
}

const NO_OPTIONS: CallOptions = {}
