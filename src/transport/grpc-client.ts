import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, on, once, total } from './edge.ts'
import {
  compressionOf,
  COMPRESSIONS,
  PREFIX_BYTES,
  readMessages,
  type Budget,
} from './grpc-frames.ts'

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
  readonly #clock: Pick<Clock, 'startTimer'>
  readonly #dial: (signal: AbortSignal) => Promise<Duplex>
  #session: Promise<ClientHttp2Session> | undefined
  #isClosed = false
  /** Streams that run. */
  #running = 0

  /** `dial`: makes a connection to the server. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE */
  constructor(
    authority: string,
    clock: Pick<Clock, 'startTimer'>,
    dial: (signal: AbortSignal) => Promise<Duplex>,
  ) {
    this.#authority = authority
    this.#clock = clock
    this.#dial = dial
  }

  /**
   * Yields the messages of the answer, and returns how it ended.
   * @throws CANCELLED, STREAM_LIMIT, TARGET_FORBIDDEN, TARGET_UNREACHABLE, MESSAGE_TOO_LARGE, BUDGET_EXHAUSTED, MALFORMED_CALL
   */
  async *call(request: GrpcRequest): AsyncGenerator<Buffer, GrpcEnd> {
    const { signal } = request
    const stream = await this.#begin(request)
    const answer = new Answer(stream, request)
    const onAbort = (): void => {
      answer.giveUp()
      drop(stream)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    send(stream, request.requests).catch(() => {
      // Its source has failed, which whoever reads the answer hears of by itself.
      onAbort()
    })
    try {
      yield* answer.messages()
      return answer.end()
    } finally {
      this.#running--
      signal.removeEventListener('abort', onAbort)
      drop(stream)
    }
  }

  /** Looks whether the connection, where there is one, still answers; one that does not is given up. */
  async probe(ms: number): Promise<void> {
    const session = await this.#session?.catch(() => undefined)
    if (session === undefined || session.destroyed) return
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.startTimer(ms, () => {
        session.destroy()
        resolve()
      })
      const done = total(
        () => {
          cancel()
          resolve()
        },
        () => undefined,
      )
      if (!session.closed && !session.ping(done)) done()
    })
  }

  /** Lets calls that run end, and the connection with the last of them. No more are made. */
  close(): void {
    this.#isClosed = true
    this.#session?.then(
      (session) => {
        session.close()
      },
      () => undefined,
    )
    this.#session = undefined
  }

  async #begin({ path, metadata, timeoutMs, signal }: GrpcRequest): Promise<ClientHttp2Stream> {
    const session = await this.#connected(signal)
    if (signal.aborted) throw new PosternError('CANCELLED', 'the caller has gone')
    // What waits for a place in the server is held by nobody's account.
    if (this.#running >= (session.remoteSettings.maxConcurrentStreams ?? Infinity))
      throw new PosternError('STREAM_LIMIT', 'the server takes no more calls at once')
    try {
      const stream = session.request({
        ...metadata,
        ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc+proto' },
        ...{ te: 'trailers', 'grpc-accept-encoding': COMPRESSIONS },
        ...(timeoutMs === undefined ? {} : { 'grpc-timeout': timeoutText(timeoutMs) }),
      })
      ignoreErrors(stream)
      this.#running++
      return stream
    } catch (error) {
      throw unreachable('its connection takes no more calls', error)
    }
  }

  /** All that call at once wait for one connection. */
  async #connected(signal: AbortSignal): Promise<ClientHttp2Session> {
    if (this.#isClosed) throw unreachable('it is no longer configured')
    const made = (this.#session ??= this.#connect())
    const gone = Promise.withResolvers<never>()
    const onAbort = (): void => {
      gone.reject(new PosternError('CANCELLED', 'the caller has gone'))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      return await Promise.race([made, gone.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #connect(): Promise<ClientHttp2Session> {
    const made = this.#make(() => {
      if (this.#session === made) this.#session = undefined
    })
    made.catch(() => {
      if (this.#session === made) this.#session = undefined
    })
    return made
  }

  /** Resolves once the server has said its settings: what speaks no HTTP/2 never does. */
  async #make(onOver: () => void): Promise<ClientHttp2Session> {
    const late = new AbortController()
    const cancel = this.#clock.startTimer(DIAL_MS_MAX, () => {
      late.abort()
    })
    try {
      const socket = await this.#dial(late.signal)
      // Most agents have no such server.
      const { connect } = await import('node:http2')
      const session = connect(`http://${this.#authority}`, {
        createConnection: () => socket,
        settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
        maxHeaderListPairs: HEADER_PAIRS_MAX,
        maxSessionMemory: SESSION_MEGABYTES_MAX,
      })
      ignoreErrors(session)
      on(session, 'goaway', () => {
        onOver()
        session.close()
      })
      once(session, 'close', () => {
        onOver()
        socket.destroy()
      })
      // Half a connection is none.
      once(socket, 'end', () => {
        session.destroy()
      })
      await ready(session, late.signal)
      session.setLocalWindowSize(SESSION_WINDOW_BYTES)
      if (this.#isClosed) session.close()
      return session
    } finally {
      cancel()
    }
  }
}

/** @throws TARGET_UNREACHABLE, and the session is destroyed */
async function ready(session: ClientHttp2Session, late: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string): void => {
      session.destroy()
      reject(unreachable(why))
    }
    once(session, 'remoteSettings', () => {
      resolve()
    })
    once(session, 'close', () => {
      fail('it closed the connection')
    })
    late.addEventListener(
      'abort',
      () => {
        fail('it does not answer')
      },
      { once: true },
    )
    if (late.aborted) fail('it does not answer')
  })
}

/** What nobody has read, or what waits for a place in the server, would keep it for ever. */
function drop(stream: ClientHttp2Stream): void {
  if (!stream.closed) stream.close(CANCEL)
  stream.destroy()
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

  /** Nobody waits for it any more. */
  giveUp(): void {
    this.#begun.resolve(undefined)
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
    const prefix = Buffer.alloc(PREFIX_BYTES)
    prefix.writeUInt32BE(request.length, 1)
    stream.write(prefix)
    if (stream.write(request)) continue
    await new Promise<void>((resolve) => {
      const stopDrain = once(stream, 'drain', done)
      const stopClose = once(stream, 'close', done)
      function done(): void {
        stopDrain()
        stopClose()
        resolve()
      }
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
