import type { AddressInfo } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Address } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import type { Expectation } from '../identity/leaf-rules.ts'
import type { ApiExchange, ApiPeer } from './api-exchange.ts'
import { ApiServers, type Held } from './api-servers.ts'
import { ConnectionShares } from './connection-shares.ts'
import { ignoreErrors, on } from './edge.ts'
import { Front } from './front.ts'
import type { HandshakeLimits } from './handshake-gate.ts'
import { judgePeer } from './judge-peer.ts'
import type { NetworkBudget } from './network-budget.ts'
import { networkOf, peerAddress, peerKey } from './peer-address.ts'
import { addressOf } from './peer-subject.ts'
import { handshakeError } from './tls-errors.ts'
import { secureContext, type TlsIdentity } from './tls-options.ts'
import type { TlsFacts } from './tls-wire.ts'
import type { TrustedProxies } from './trusted-proxies.ts'

const CONNECTIONS = { max: 4096, perNetworkMax: 1024 }
/** Connections do not all end at once: their ages differ by so much. */
const AGE_SPREAD = 0.1
const TIMER_MS_MAX = 2 ** 31 - 1

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
  readonly proxies: TrustedProxies
  /** How long a connection lasts, in ms: then it is ended in two steps, and what runs goes on. */
  readonly ageMs: () => number
  /** Judges a peer whose certificate was verified. @throws what its refusal is */
  readonly admit: (facts: TlsFacts) => void
  readonly serve: (exchange: ApiExchange) => void
}

/** HTTP/2 and HTTP/1.1 over TLS on one port, by ALPN (RFC 7301): the way in for callers in any language. */
export class ApiListener {
  readonly #options: ApiListenOptions
  readonly #server: Server
  readonly #front: Front
  readonly #servers: ApiServers
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
      onRefused: (error, peer) => {
        this.#refused(error, peer)
      },
    })
    on(this.#server, 'secureConnection', (socket: TLSSocket) => {
      this.#enter(socket)
    })
    on(this.#server, 'tlsClientError', (error: Error, socket: TLSSocket) => {
      const address = addressOf(socket)
      this.#front.gate.failed(socket)
      if (!this.#front.gate.wasEvicted(socket))
        this.#refused(handshakeError(error, socket), address)
      ignoreErrors(socket)
      socket.destroy()
    })
    this.#servers = new ApiServers(options.clock, options.serve)
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    const bound = await this.#front.listen()
    this.#servers.start()
    return bound
  }

  /** Handshakes from now on see this certificate, and are judged by these roots. */
  use(certificate: TlsIdentity): void {
    this.#server.setSecureContext(secureContext(certificate))
  }

  /** How many connections there are. */
  get count(): number {
    return this.#servers.all.length
  }

  /** How many requests are not over yet, with their answers. */
  get running(): number {
    return this.#servers.running
  }

  /** Cuts those that are let in no more. */
  sweep(): void {
    for (const [socket, { peer }] of this.#servers.all) {
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
    this.#servers.drain()
  }

  /** Ends everything. */
  close(): void {
    this.#front.close()
    this.#servers.close()
  }

  #enter(socket: TLSSocket): void {
    ignoreErrors(socket)
    const address = peerKey(socket)
    this.#front.gate.passed(socket)
    let peer: ApiPeer
    try {
      peer = this.#peerOf(socket, address)
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      this.#refused(error, address)
      socket.destroy()
      return
    }
    this.#boundLife(socket, this.#servers.take(socket, peer, socket.alpnProtocol === 'h2'))
  }

  /** @throws CERT_MISSING, CERT_UNTRUSTED, CERT_LEAF_RULES, IDENTITY_ROLE, IDENTITY_TRUST_DOMAIN, and what `admit` throws */
  #peerOf(socket: TLSSocket, address: string): ApiPeer {
    const { expected } = this.#options
    const facts = expected && judgePeer(socket, expected, address, 'any').facts
    if (facts !== undefined) this.#options.admit(facts)
    // Node says false where no name was asked for.
    const { servername } = socket as { servername?: unknown }
    const serverName = typeof servername === 'string' ? servername.toLowerCase() : ''
    return { facts, serverName, address, network: networkOf(peerAddress(socket)) }
  }

  /** A connection ends in good order when it is of age, and at once with the certificate of its client. */
  #boundLife(socket: TLSSocket, held: Held): void {
    const { clock, random, ageMs } = this.#options
    const age = clock.startTimer(ageMs() * (1 - AGE_SPREAD * random.fraction()), () => {
      this.#servers.farewell(socket, held)
    })
    held.timers.push(age)
    const { facts } = held.peer
    if (facts === undefined) return
    const leftMs = Math.max(0, facts.certificateNotAfterMs - clock.wallMs())
    // Longer than a timer can be, it is of age before.
    if (leftMs < TIMER_MS_MAX) held.timers.push(clock.startTimer(leftMs, () => socket.destroy()))
  }

  #refused({ code, rawMessage: reason }: PosternError, peer: string): void {
    this.#log.warn(code, { code, peer, reason }, 'refused a connection')
  }
}
