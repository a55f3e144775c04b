import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  constants,
  createServer as createHttp2,
  type Http2Session,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { ConnectionShares } from './connection-shares.ts'
import { ignoreErrors, on, once } from './edge.ts'
import { bodyLength, pathOf, readBody } from './http-body.ts'
import { UnixListener, type Openers } from './local-socket.ts'

/** What HTTP/2 begins with (RFC 9113 section 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0')
const PREFIX_BYTES = 5
const BODY_BYTES_MAX = 64 * 1024
const CONNECTIONS_MAX = 64
const STREAMS_MAX = 16
const REQUEST_MS_MAX = 5000
const IDLE_MS_MAX = 60_000

/** One unary call, as gRPC or as JSON. */
export interface LocalCall {
  /** Such as /package.Service/Method. */
  readonly path: string
  readonly form: 'json' | 'proto'
  readonly body: Buffer
}

/** How it ends: `status` is the number of the gRPC status, `http` that of HTTP. */
export interface LocalAnswer {
  readonly status: number
  readonly http: number
  /** Of a good answer: the response, in the form of the call. */
  readonly body: Buffer
  /** Of another: why, in printable ASCII. */
  readonly message: string
}

/** Ends a connection that has nothing to show for its time, however it dribbles. */
class Patience {
  readonly #socket: Socket
  readonly #clock: Clock
  #cancel: CancelTimer | undefined

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket
    this.#clock = clock
    once(socket, 'close', () => this.#cancel?.())
    this.renew(IDLE_MS_MAX)
  }

  renew(ms: number): void {
    this.#cancel?.()
    if (this.#socket.destroyed) return
    this.#cancel = this.#clock.startTimer(ms, () => this.#socket.destroy())
  }
}

/**
 * Unary calls over a unix socket: gRPC over HTTP/2, and JSON in a POST over HTTP/1.1. Bodies, streams, connections and times are
 * bounded before anything is read.
 */
export class LocalHttp {
  readonly #listener: UnixListener
  readonly #http: Server
  readonly #http2: Http2Server
  readonly #clock: Clock
  readonly #sockets = new Map<Socket, Patience>()
  readonly #sessions = new WeakMap<Http2Session, Patience>()
  /** Of the connection that becomes a session now. */
  #coming: Patience | undefined
  readonly #serve: (call: LocalCall) => LocalAnswer

  constructor(
    path: string,
    openers: Openers,
    clock: Clock,
    serve: (call: LocalCall) => LocalAnswer,
  ) {
    this.#serve = serve
    this.#clock = clock
    // Its own times hold where it listens itself alone.
    this.#http = createServer()
    on(this.#http, 'request', (request: IncomingMessage, response: ServerResponse) => {
      void this.#request(request, response)
    })
    this.#http2 = createHttp2({
      settings: { maxConcurrentStreams: STREAMS_MAX, maxHeaderListSize: 8192 },
      maxSessionMemory: 1,
    })
    on(this.#http2, 'stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      this.#stream(stream, headers)
    })
    on(this.#http2, 'session', (session: Http2Session) => {
      ignoreErrors(session)
      if (this.#coming !== undefined) this.#sessions.set(session, this.#coming)
    })
    const shares = new ConnectionShares({ max: CONNECTIONS_MAX, perNetworkMax: CONNECTIONS_MAX })
    this.#listener = new UnixListener(path, openers, (socket) => {
      ignoreErrors(socket)
      shares.enter(socket)
      this.#sockets.set(socket, new Patience(socket, clock))
      once(socket, 'close', () => this.#sockets.delete(socket))
      this.#tell(socket)
    })
  }

  /** @throws LISTEN_FAILED */
  async listen(): Promise<void> {
    await this.#listener.listen()
  }

  close(): void {
    this.#listener.close()
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  /** Which of the two it speaks: its first bytes say. */
  #tell(socket: Socket): void {
    once(socket, 'readable', () => {
      const first = socket.read() as Buffer | null
      if (first === null) {
        socket.destroy()
        return
      }
      socket.unshift(first)
      const isHttp2 = first.subarray(0, PREFACE.length).equals(PREFACE)
      const server = isHttp2 ? this.#http2 : this.#http
      this.#coming = this.#sockets.get(socket)
      server.emit('connection', socket)
      this.#coming = undefined
    })
  }

  async #request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const patience = this.#sockets.get(request.socket)
    patience?.renew(REQUEST_MS_MAX)
    once(response, 'finish', () => patience?.renew(IDLE_MS_MAX))
    const length = bodyLength(request)
    const path = request.method === 'POST' ? pathOf(request.url ?? '') : undefined
    const isJson = /^application\/json\b/.test(request.headers['content-type'] ?? '')
    if (typeof length === 'object') {
      answerJson(response, length.status, { code: 'invalid_argument', message: 'bad length' })
      return
    }
    if (path === undefined || !isJson) {
      const message = 'POST application/json to /package.Service/Method'
      answerJson(response, path === undefined ? 404 : 415, { code: 'unimplemented', message })
      return
    }
    try {
      const body = await readBody(request, length)
      const answer = this.#serve({ path, form: 'json', body })
      if (answer.status === 0) {
        response.writeHead(200, { 'content-type': 'application/json' }).end(answer.body)
        return
      }
      answerJson(response, answer.http, { message: answer.message })
    } catch {
      // Cut off in the middle, or a fault that was told already.
      response.destroy()
    }
  }

  #stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    ignoreErrors(stream)
    if (stream.session !== undefined) this.#sessions.get(stream.session)?.renew(IDLE_MS_MAX)
    const cancel = this.#clock.startTimer(REQUEST_MS_MAX, () => {
      stream.close(constants.NGHTTP2_CANCEL)
    })
    once(stream, 'close', cancel)
    const isGrpc = /^application\/grpc(\+proto)?$/.test(headers['content-type'] ?? '')
    const path = headers[':path'] ?? ''
    if (headers[':method'] !== 'POST' || !isGrpc) {
      stream.respond({ ':status': 415 }, { endStream: true })
      return
    }
    const parts: Buffer[] = []
    let length = 0
    on(stream, 'data', (chunk: Buffer) => {
      length += chunk.length
      if (length <= BODY_BYTES_MAX + PREFIX_BYTES) parts.push(chunk)
    })
    once(stream, 'end', () => {
      const all = Buffer.concat(parts)
      const isWhole = length === all.length && length >= PREFIX_BYTES && all[0] === 0
      const isOne = isWhole && all.readUInt32BE(1) === length - PREFIX_BYTES
      if (!isOne) endGrpc(stream, 8, 'a request is one message, not compressed, of at most 64 KiB')
      else {
        const body = all.subarray(PREFIX_BYTES)
        const answer = this.#serve({ path, form: 'proto', body })
        endGrpc(stream, answer.status, answer.message, answer.body)
      }
    })
  }
}

function answerJson(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' })
  response.end(`${JSON.stringify(value)}\n`)
}

/** Ends a call as gRPC does (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md): its status is a trailer. */
function endGrpc(stream: ServerHttp2Stream, status: number, message: string, body?: Buffer): void {
  const head = { ':status': 200, 'content-type': 'application/grpc' }
  const trailers = {
    'grpc-status': String(status),
    ...(message === '' ? {} : { 'grpc-message': encodeURIComponent(message) }),
  }
  if (stream.destroyed) return
  if (status !== 0) {
    stream.respond({ ...head, ...trailers }, { endStream: true })
    return
  }
  stream.respond(head, { waitForTrailers: true })
  once(stream, 'wantTrailers', () => {
    stream.sendTrailers(trailers)
  })
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix.writeUInt32BE(body?.length ?? 0, 1)
  stream.end(Buffer.concat([prefix, body ?? Buffer.alloc(0)]))
}
