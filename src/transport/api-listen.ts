import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  createServer as createHttp2,
  type IncomingHttpHeaders,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Address } from '../base/address.ts'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import type { Expectation } from '../identity/leaf-rules.ts'
import { Http1Exchange, Http2Exchange, type ApiExchange, type ApiPeer } from './api-exchange.ts'
import { ConnectionShares } from './connection-shares.ts'
import { ignoreErrors, on, once, tell } from './edge.ts'
import { Front } from './front.ts'
import { networkOf, peerKey, type HandshakeLimits } from './handshake-gate.ts'
import { judgePeer } from './judge-peer.ts'
import type { NetworkBudget } from './network-budget.ts'
import { addressOf } from './peer-subject.ts'
import { handshakeError } from './tls-errors.ts'
import { secureContext, type TlsIdentity } from './tls-options.ts'
import type { TlsFacts } from './tls-wire.ts'

/** Streams of one connection at once, as gRPC's clients use them. */
const STREAMS_MAX = 1000
const HEADER_BYTES_MAX = 32 * 1024
const HEADER_PAIRS_MAX = 128
/** Bytes of a stream, and of a connection in MB, that are taken before anybody has read them. */
const STREAM_WINDOW_BYTES = 256 * 1024
const SESSION_WINDOW_BYTES = 4 * 1024 * 1024
const SESSION_MEGABYTES_MAX = 16
const CONNECTIONS = { max: 4096, perNetworkMax: 1024 }
const HEADERS_MS_MAX = 10_000
const IDLE_MS_MAX = 600_000
const LOOK_MS = 60_000
const SLOWNESS_CHECK_MS = 1000
/** Connections do not all end at once: their ages differ by so much. */
const AGE_SPREAD = 0.1
/** Between the two steps of an end: what is on its way is still taken. */
const FAREWELL_MS = 1000
const TIMER_MS_MAX = 2 ** 31 - 1
const LAST_STREAM_ID = 2 ** 31 - 1

/** The values and collaborators that `ApiListener` is given. */
export interface ApiListenOptions {
  readonly address: Address
  readonly certificate: TlsIdentity
  /** Peers that must show a certificate, and its roots; undefined: nobody is asked for one. */
  readonly expected: Expectation | undefined
  readonly limits: HandshakeLimits
  readonly clock: Clock
  readonly random: Pick<Random, 'fraction'>
  readonly logger: Logger
  readonly budget: NetworkBudget
  /** How long a connection lasts, in ms: then it is ended in two steps, and what runs goes on. */
  readonly ageMs: () => number
  /** Judges a peer whose certificate was verified. @throws what its refusal is */
  readonly admit: (facts: TlsFacts) => void
  readonly serve: (exchange: ApiExchange) => void
}

/** One connection, of either version of HTTP. */
interface Held {
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

/** HTTP/2 and HTTP/1.1 over TLS on one port, by ALPN (RFC 7301): the way in for callers in any language. */
export class ApiListener {
  readonly #options: ApiListenOptions
  readonly #server: Server
  readonly #front: Front
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
  #cancelLook: CancelTimer | undefined
  readonly #shares = new ConnectionShares(CONNECTIONS)
  readonly #log: LogLimiter

  constructor(options: ApiListenOptions) {
    this.#options = options
    const { expected } = options
    this.#log = new LogLimiter(options.logger, options.clock)
    this.#server = createServer({
      ...secureContext(options.certificate),
      requestCert: expected !== undefined,
      handshakeTimeout: options.limits.timeoutMs,
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    this.#front = new Front({
      ...options,
      onConnection: (socket) => {
        this.#shares.enter(socket)
      },
      begin: (socket) => this.#server.emit('connection', socket),
      onRefused: (peer, reason) => {
        this.#refused(new PosternError('HANDSHAKE_LIMIT', reason), peer)
      },
    })
    on(this.#server, 'secureConnection', (socket: TLSSocket) => {
      this.#enter(socket)
    })
    on(this.#server, 'tlsClientError', (error: Error, socket: TLSSocket) => {
      const address = addressOf(socket)
      this.#front.gate.failed(address)
      if (!this.#front.gate.wasEvicted(address))
        this.#refused(handshakeError(error, socket), address)
      ignoreErrors(socket)
      socket.destroy()
    })
    this.#listenToHttp1()
    this.#listenToHttp2()
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    const bound = await this.#front.listen()
    this.#lookForIdle()
    // It gets its connections from the front, and looks for slow ones once it hears this.
    this.#http1.emit('listening')
    return bound
  }

  /** Handshakes from now on see this certificate, and are judged by these roots. */
  use(certificate: TlsIdentity): void {
    this.#server.setSecureContext(secureContext(certificate))
  }

  /** How many connections there are. */
  get count(): number {
    return this.#held.size
  }

  /** How many requests are not over yet, with their answers. */
  get running(): number {
    return this.#running
  }

  /** Cuts those that are let in no more. */
  sweep(): void {
    for (const [socket, { peer }] of [...this.#held]) {
      if (peer.facts === undefined) continue
      try {
        this.#options.admit(peer.facts)
      } catch (error) {
        this.#refused(error as PosternError, peer.address)
        socket.destroy()
      }
    }
  }

  /** Takes no more connections and asks for no more requests; those that run go on. */
  drain(): void {
    this.#front.close()
    for (const [socket, held] of this.#held) this.#farewell(socket, held)
  }

  /** Ends everything. */
  close(): void {
    this.#front.close()
    this.#cancelLook?.()
    for (const socket of [...this.#held.keys()]) socket.destroy()
    this.#http1.close()
    this.#http2.close()
  }

  #enter(socket: TLSSocket): void {
    ignoreErrors(socket)
    const address = peerKey(socket)
    this.#front.gate.passed(address)
    let held: Held
    try {
      held = {
        ...{ peer: this.#peerOf(socket, address), timers: [], isBusy: false, isLeaving: false },
        ...{ streams: 0, usedAtMs: this.#options.clock.nowMs() },
      }
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      this.#refused(error, address)
      socket.destroy()
      return
    }
    this.#held.set(socket, held)
    once(socket, 'close', () => {
      for (const cancel of held.timers) cancel()
      this.#held.delete(socket)
    })
    this.#boundLife(socket, held)
    this.#coming = held
    const server = socket.alpnProtocol === 'h2' ? this.#http2 : this.#http1
    server.emit('connection', socket)
    this.#coming = undefined
  }

  /** @throws CERT_MISSING, CERT_UNTRUSTED, CERT_LEAF_RULES, IDENTITY_ROLE, IDENTITY_TRUST_DOMAIN, and what `admit` throws */
  #peerOf(socket: TLSSocket, address: string): ApiPeer {
    const { expected } = this.#options
    const facts = expected && judgePeer(socket, expected, address, 'any').facts
    if (facts !== undefined) this.#options.admit(facts)
    // Node says false where no name was asked for.
    const { servername } = socket as { servername?: unknown }
    const serverName = typeof servername === 'string' ? servername.toLowerCase() : ''
    return { facts, serverName, address, network: networkOf(socket.remoteAddress ?? '') }
  }

  /** A connection ends in good order when it is of age, and at once with the certificate of its client. */
  #boundLife(socket: TLSSocket, held: Held): void {
    const { clock, random, ageMs } = this.#options
    const age = clock.startTimer(ageMs() * (1 - AGE_SPREAD * random.fraction()), () => {
      this.#farewell(socket, held)
    })
    held.timers.push(age)
    const { facts } = held.peer
    if (facts === undefined) return
    const leftMs = Math.max(0, facts.certificateNotAfterMs - clock.wallMs())
    // Longer than a timer can be, it is of age before.
    if (leftMs < TIMER_MS_MAX) held.timers.push(clock.startTimer(leftMs, () => socket.destroy()))
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
      this.#serve(new Http1Exchange(request, response, held.peer, this.#options.clock))
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
      once(stream, 'close', () => {
        held.streams--
        held.usedAtMs = this.#options.clock.nowMs()
      })
      this.#serve(new Http2Exchange(stream, headers, held.peer, this.#options.clock))
    })
  }

  /** Connections of HTTP/2 that nobody uses end; those of HTTP/1.1 Node ends. */
  #lookForIdle(): void {
    const { clock } = this.#options
    this.#cancelLook = clock.startTimer(LOOK_MS, () => {
      const nowMs = clock.nowMs()
      for (const [socket, held] of this.#held)
        if (held.session && held.streams === 0 && nowMs - held.usedAtMs > IDLE_MS_MAX)
          this.#farewell(socket, held)
      this.#lookForIdle()
    })
  }

  #serve(exchange: ApiExchange): void {
    this.#running++
    exchange.onClosed(() => {
      this.#running--
    })
    try {
      this.#options.serve(exchange)
    } catch (error) {
      tell(error)
      exchange.abort()
    }
  }

  /** First no more streams are begun, then those that were on their way are in, and the last of them ends the connection. */
  #farewell(socket: Socket, held: Held): void {
    const { session } = held
    if (session === undefined) {
      held.isLeaving = true
      if (!held.isBusy) this.#hangUp(socket, held)
      return
    }
    if (session.closed || session.destroyed) return
    session.goaway(0, LAST_STREAM_ID)
    this.#options.clock.startTimer(FAREWELL_MS, () => {
      if (!session.destroyed) session.close()
    })
  }

  /** A client that does not hang up in its turn is not waited for. */
  #hangUp(socket: Socket, held: Held): void {
    socket.end()
    held.timers.push(this.#options.clock.startTimer(FAREWELL_MS, () => socket.destroy()))
  }

  #refused({ code, rawMessage: reason }: PosternError, peer: string): void {
    this.#log.warn(code, { code, peer, reason }, 'refused a connection')
  }
}
