import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import type { Duplex } from 'node:stream'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, on, once } from './edge.ts'
import { compressionOf, COMPRESSIONS, envelope, readMessages, type Budget } from './grpc-frames.ts'

/** Fields of HTTP and of gRPC itself, which are no metadata. */
const NO_METADATA =
  /^(?::.*|content-.*|grpc-(?!status-details-bin$).*|date|server|trailer|connection|te|transfer-encoding|set-cookie)$/
const VALUE = /^[\x20-\x7e]*$/
const STREAM_WINDOW_BYTES = 256 * 1024
const SESSION_WINDOW_BYTES = 4 * 1024 * 1024
/** Of one server: what it may make us hold beside messages that are read. */
const SESSION_MEGABYTES_MAX = 32
const HEADER_PAIRS_MAX = 128
/** Code of RST_STREAM of who gives up (RFC 9113, section 7). */
const CANCEL = 8
const DIAL_MS_MAX = 10_000

/** Fields that go with a call or come with its answer. */
export type Fields = Readonly<Record<string, string>>

/** How a call of gRPC ended. */
export interface GrpcEnd {
  /** Number of the status (github.com/grpc/grpc, doc/statuscodes.md). */
  readonly status: number
  /** What the server says of it, decoded; strangers' words. */
  readonly text: string
  readonly metadata: Fields
}

/** One call to a server of gRPC. */
export interface GrpcRequest {
  /** "/package.Service/Method". */
  readonly path: string
  readonly metadata: Fields
  /** In ms; undefined: any time. */
  readonly timeoutMs: number | undefined
  readonly signal: AbortSignal
  readonly requests: AsyncIterable<Uint8Array>
  /** Largest message of the answer, in bytes. */
  readonly messageBytesMax: number
  readonly budget: Budget
  /** Told the metadata that the answer begins with; not where it is a status alone. */
  readonly onHeaders: (metadata: Fields) => void
}

/** Calls to one server of gRPC (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md), over one connection that is made when it is needed. */
export class GrpcClient {
  readonly #authority: string
  readonly #dial: (signal: AbortSignal) => Promise<Duplex>
  #session: Promise<ClientHttp2Session> | undefined

  /** `dial`: makes a connection to the server. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE */
  constructor(authority: string, dial: (signal: AbortSignal) => Promise<Duplex>) {
    this.#authority = authority
    this.#dial = dial
  }

  /** Yields the messages of the answer, and returns how it ended. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE, MESSAGE_TOO_LARGE, MALFORMED_CALL */
  async *call(request: GrpcRequest): AsyncGenerator<Buffer, GrpcEnd> {
    const stream = await this.#begin(request)
    const answer = new Answer(stream, request)
    const onAbort = (): void => {
      stream.close(CANCEL)
    }
    request.signal.addEventListener('abort', onAbort, { once: true })
    if (request.signal.aborted) onAbort()
    send(stream, request.requests).catch(() => {
      // Its source has failed, which whoever reads the answer hears of by itself.
      stream.close(CANCEL)
    })
    try {
      yield* answer.messages()
      return answer.end()
    } finally {
      request.signal.removeEventListener('abort', onAbort)
      if (!stream.closed) stream.close(CANCEL)
      // What nobody has read would keep it for ever.
      stream.destroy()
    }
  }

  /** Lets calls that run end, and the connection with the last of them. */
  close(): void {
    this.#session?.then(
      (session) => {
        session.close()
      },
      () => undefined,
    )
    this.#session = undefined
  }

  async #begin({ path, metadata, timeoutMs }: GrpcRequest): Promise<ClientHttp2Stream> {
    const session = await this.#connected()
    try {
      const stream = session.request({
        ...metadata,
        ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc+proto' },
        ...{ te: 'trailers', 'grpc-accept-encoding': COMPRESSIONS },
        ...(timeoutMs === undefined ? {} : { 'grpc-timeout': timeoutText(timeoutMs) }),
      })
      ignoreErrors(stream)
      return stream
    } catch (error) {
      throw unreachable('its connection takes no more calls', error)
    }
  }

  async #connected(): Promise<ClientHttp2Session> {
    const known = await this.#session?.catch(() => undefined)
    if (known?.closed === false && !known.destroyed) return known
    const made = this.#connect()
    this.#session = made
    made.catch(() => {
      if (this.#session === made) this.#session = undefined
    })
    return await made
  }

  async #connect(): Promise<ClientHttp2Session> {
    const socket = await this.#dial(AbortSignal.timeout(DIAL_MS_MAX))
    // Most agents have no such server.
    const { connect } = await import('node:http2')
    const session = connect(`http://${this.#authority}`, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
      maxHeaderListPairs: HEADER_PAIRS_MAX,
      maxSessionMemory: SESSION_MEGABYTES_MAX,
    })
    ignoreErrors(session)
    once(session, 'connect', () => {
      session.setLocalWindowSize(SESSION_WINDOW_BYTES)
    })
    on(session, 'goaway', () => {
      session.close()
    })
    once(session, 'close', () => {
      socket.destroy()
    })
    return session
  }
}

/** The answer of one call, as it comes. */
class Answer {
  readonly #stream: ClientHttp2Stream
  readonly #request: GrpcRequest
  readonly #begun = Promise.withResolvers<undefined>()
  #head: IncomingHttpHeaders = {}
  #tail: IncomingHttpHeaders | undefined

  constructor(stream: ClientHttp2Stream, request: GrpcRequest) {
    this.#stream = stream
    this.#request = request
    on(stream, 'response', (headers: IncomingHttpHeaders) => {
      this.#head = headers
      if (headers['grpc-status'] !== undefined) this.#tail = headers
      else if ((headers[':status'] as unknown) === 200) request.onHeaders(metadataOf(headers))
      this.#begun.resolve(undefined)
    })
    on(stream, 'trailers', (headers: IncomingHttpHeaders) => {
      this.#tail = headers
    })
    once(stream, 'close', () => {
      this.#begun.resolve(undefined)
    })
  }

  /** @throws MESSAGE_TOO_LARGE, BUDGET_EXHAUSTED, MALFORMED_CALL, METHOD_UNKNOWN, TARGET_UNREACHABLE */
  async *messages(): AsyncGenerator<Buffer, undefined> {
    await this.#begun.promise
    const encoding = this.#head['grpc-encoding']
    const compression = compressionOf(typeof encoding === 'string' ? encoding : undefined)
    const body = this.#stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
    try {
      yield* readMessages(body, this.#request, compression)
    } catch (error) {
      if (error instanceof PosternError && error.code !== 'MALFORMED_CALL') throw error
      // Cut off: where a status came all the same, it says why.
      if (this.#tail === undefined) throw unreachable('its answer was cut off', error)
    }
  }

  /** @throws TARGET_UNREACHABLE */
  end(): GrpcEnd {
    const tail = this.#tail
    const said = tail?.['grpc-status']
    const status = typeof said === 'string' && /^\d{1,2}$/.test(said) ? Number(said) : undefined
    if (tail === undefined || status === undefined)
      throw unreachable('it answered without a status of gRPC')
    const message = tail['grpc-message']
    return { status, text: decoded(message), metadata: metadataOf(tail) }
  }
}

async function send(stream: ClientHttp2Stream, requests: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const request of requests) {
    if (stream.closed || stream.destroyed) return
    if (stream.write(envelope(0, Buffer.from(request)))) continue
    await new Promise<void>((resolve) => {
      once(stream, 'drain', () => {
        resolve()
      })
      once(stream, 'close', () => {
        resolve()
      })
    })
  }
  stream.end()
}

function metadataOf(headers: IncomingHttpHeaders): Fields {
  const fields: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    const text = Array.isArray(value) ? value.join(', ') : value
    if (text !== undefined && !NO_METADATA.test(name) && VALUE.test(text)) fields[name] = text
  }
  return fields
}

function timeoutText(timeoutMs: number): string {
  const ms = Math.max(1, Math.ceil(timeoutMs))
  return ms < 100_000_000 ? `${String(ms)}m` : `${String(Math.ceil(ms / 1000))}S`
}

function decoded(message: string | string[] | undefined): string {
  const text = typeof message === 'string' ? message : ''
  try {
    return decodeURIComponent(text)
  } catch {
    // Encoded by nobody's rules: as it is.
    return text
  }
}

function unreachable(text: string, cause?: unknown): PosternError {
  return new PosternError('TARGET_UNREACHABLE', `the target of the service: ${text}`, {}, { cause })
}
