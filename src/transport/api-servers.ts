import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  createServer as createHttp2,
  type IncomingHttpHeaders,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { Http1Exchange, Http2Exchange, type ApiExchange, type ApiPeer } from './api-exchange.ts'
import { ignoreErrors, on, once, tell } from './edge.ts'

/** Streams of one connection at once, as gRPC's clients use them. */
const STREAMS_MAX = 1000
const HEADER_BYTES_MAX = 32 * 1024
const HEADER_PAIRS_MAX = 128
/** Bytes of a stream, of a connection, and of all that a connection is, in MB, that are taken before anybody has read them. */
const STREAM_WINDOW_BYTES = 256 * 1024
const SESSION_WINDOW_BYTES = 4 * 1024 * 1024
const SESSION_MEGABYTES_MAX = 16
const HEADERS_MS_MAX = 10_000
const IDLE_MS_MAX = 600_000
const LOOK_MS = 60_000
const SLOWNESS_CHECK_MS = 1000
/** Between the two steps of an end: what is on its way is still taken. */
const FAREWELL_MS = 1000
const LAST_STREAM_ID = 2 ** 31 - 1

/** One connection, of either version of HTTP. */
export interface Held {
  readonly peer: ApiPeer
  readonly timers: CancelTimer[]
  session?: ServerHttp2Session
  /** Of HTTP/1.1: a request that is not answered yet. */
  isBusy: boolean
  /** Of HTTP/2: streams that run, and when the last one began or ended. */
  streams: number
  usedAtMs: number
  isLeaving: boolean
}

/** HTTP/2 and HTTP/1.1 on connections that somebody else has taken, and judged. */
export class ApiServers {
  readonly #clock: Clock
  readonly #onRequest: (exchange: ApiExchange) => void
  readonly #http1 = createHttp1({
    maxHeaderSize: HEADER_BYTES_MAX,
    connectionsCheckingInterval: SLOWNESS_CHECK_MS,
  })
  readonly #http2 = createHttp2({
    settings: {
      maxConcurrentStreams: STREAMS_MAX,
      maxHeaderListSize: HEADER_BYTES_MAX,
      initialWindowSize: STREAM_WINDOW_BYTES,
    },
    maxHeaderListPairs: HEADER_PAIRS_MAX,
    maxSessionMemory: SESSION_MEGABYTES_MAX,
  })
  readonly #held = new Map<Socket, Held>()
  readonly #sessions = new WeakMap<Http2Session, Held>()
  /** Of the connection that becomes a session now. */
  #coming: Held | undefined
  #running = 0
  #isDraining = false
  #cancelLook: CancelTimer | undefined

  constructor(clock: Clock, onRequest: (exchange: ApiExchange) => void) {
    this.#clock = clock
    this.#onRequest = onRequest
    this.#listenToHttp1()
    this.#listenToHttp2()
  }

  /** Begins to look for connections that are slow, or that nobody uses. */
  start(): void {
    // It gets its connections from others, and looks for slow ones once it hears this.
    this.#http1.emit('listening')
    this.#lookForIdle()
  }

  /** Serves a connection. */
  take(socket: Socket, peer: ApiPeer, isHttp2: boolean): Held {
    const held: Held = {
      ...{ peer, timers: [], isBusy: false, isLeaving: false, streams: 0 },
      usedAtMs: this.#clock.nowMs(),
    }
    this.#held.set(socket, held)
    once(socket, 'close', () => {
      for (const cancel of held.timers) cancel()
      this.#held.delete(socket)
    })
    this.#coming = held
    const server = isHttp2 ? this.#http2 : this.#http1
    server.emit('connection', socket)
    this.#coming = undefined
    return held
  }

  /** The connections that there are. */
  get all(): readonly (readonly [Socket, Held])[] {
    return [...this.#held]
  }

  /** How many requests are not over yet, with their answers. */
  get running(): number {
    return this.#running
  }

  /** Asks for no more requests, and declines those that come all the same; those that run go on. */
  drain(): void {
    this.#isDraining = true
    for (const [socket, held] of this.#held) this.farewell(socket, held)
  }

  /** Ends everything. */
  close(): void {
    this.#cancelLook?.()
    for (const socket of [...this.#held.keys()]) socket.destroy()
    this.#http1.close()
    this.#http2.close()
  }

  /** First no more streams are begun, then those that were on their way are in, and the last of them ends the connection. */
  farewell(socket: Socket, held: Held): void {
    const { session } = held
    if (session === undefined) {
      held.isLeaving = true
      if (!held.isBusy) this.#hangUp(socket, held)
      return
    }
    if (session.closed || session.destroyed) return
    session.goaway(0, LAST_STREAM_ID)
    this.#clock.startTimer(FAREWELL_MS, () => {
      if (!session.destroyed) session.close()
    })
  }

  #listenToHttp1(): void {
    const http1 = this.#http1
    http1.headersTimeout = HEADERS_MS_MAX
    // Streams last: what bounds a request is its deadline.
    http1.requestTimeout = 0
    http1.keepAliveTimeout = IDLE_MS_MAX
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      const held = this.#held.get(request.socket)
      if (held === undefined) {
        response.destroy()
        return
      }
      held.isBusy = true
      once(response, 'close', () => {
        held.isBusy = false
        if (held.isLeaving) this.#hangUp(request.socket, held)
      })
      this.#serve(new Http1Exchange(request, response, held.peer, this.#clock))
    }
    on(http1, 'request', serve)
    on(http1, 'clientError', (_error: Error, socket: Socket) => {
      socket.destroy()
    })
  }

  #listenToHttp2(): void {
    on(this.#http2, 'session', (session: ServerHttp2Session) => {
      ignoreErrors(session)
      session.setLocalWindowSize(SESSION_WINDOW_BYTES)
      const held = this.#coming
      if (held !== undefined) {
        held.session = session
        this.#sessions.set(session, held)
      }
    })
    on(this.#http2, 'sessionError', () => undefined)
    on(this.#http2, 'stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      ignoreErrors(stream)
      const held = stream.session && this.#sessions.get(stream.session)
      if (held === undefined) {
        stream.destroy()
        return
      }
      held.streams++
      const exchange = new Http2Exchange(stream, headers, held.peer, this.#clock)
      exchange.onClosed(() => {
        held.streams--
        held.usedAtMs = this.#clock.nowMs()
      })
      this.#serve(exchange)
    })
  }

  /** Connections of HTTP/2 that nobody uses end; those of HTTP/1.1 Node ends. */
  #lookForIdle(): void {
    const clock = this.#clock
    this.#cancelLook = clock.startTimer(LOOK_MS, () => {
      const nowMs = clock.nowMs()
      for (const [socket, held] of this.#held)
        if (held.session && held.streams === 0 && nowMs - held.usedAtMs > IDLE_MS_MAX)
          this.farewell(socket, held)
      this.#lookForIdle()
    })
  }

  #serve(exchange: ApiExchange): void {
    this.#running++
    exchange.onClosed(() => {
      this.#running--
    })
    if (this.#isDraining && exchange.decline()) return
    try {
      this.#onRequest(exchange)
    } catch (error) {
      tell(error)
      exchange.abort()
    }
  }

  /** A client that does not hang up in its turn is not waited for. */
  #hangUp(socket: Socket, held: Held): void {
    socket.end()
    held.timers.push(this.#clock.startTimer(FAREWELL_MS, () => socket.destroy()))
  }
}
