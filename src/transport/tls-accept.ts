import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { PosternError, type ErrorCode } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'

import type { Logger } from '../base/logger.ts'
import type { Credential } from '../identity/key-files.ts'
import type { Expectation } from '../identity/leaf-rules.ts'
import { farewell } from './farewell.ts'
import { HandshakeGate, peerKey, type HandshakeLimits } from './handshake-gate.ts'
import { judgePeer } from './judge-peer.ts'
import type { Address } from '../config/address.ts'
import { addressOf, rememberSubject, subjectOf } from './peer-subject.ts'
import { tlsError } from './tls-errors.ts'
import { ALPN, secureContext } from './tls-options.ts'
import type { TlsWire } from './tls-wire.ts'

/** Refusals that come after the chain was verified. */
const TOLD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CERT_LEAF_RULES',
  'IDENTITY_ROLE',
  'IDENTITY_TRUST_DOMAIN',
  'IDENTITY_REVOKED',
  'CLUSTER_LOCKED',
  'CA_RETIRED',
  'HANDSHAKE_LIMIT',
  'BUDGET_EXHAUSTED',
])
const FAREWELL_MS = 1000

export interface AcceptOptions {
  readonly address: Address
  readonly credential: Credential
  readonly expected: Expectation
  readonly limits: HandshakeLimits
  readonly clock: Clock
  readonly logger: Logger
  readonly onPeer: (wire: TlsWire) => void
}

/** Accepts mutual-TLS connections from peers of the expected roles, and nobody else. */
export class TlsListener {
  readonly #options: AcceptOptions
  readonly #server: Server
  readonly #gate: HandshakeGate
  readonly #log: LogLimiter

  constructor(options: AcceptOptions) {
    this.#options = options
    this.#log = new LogLimiter(options.logger, options.clock)
    this.#gate = new HandshakeGate(options.limits, options.clock, (address, reason) => {
      this.#refused(new PosternError('HANDSHAKE_LIMIT', reason), address, undefined)
    })
    const { credential } = options
    this.#server = createServer({
      // One context per port, chosen by no name that a peer sends.
      ...secureContext(credential),
      requestCert: true,
      handshakeTimeout: options.limits.timeoutMs,
      ALPNCallback: chooseAlpn,
    })
    this.#server.on('connection', (socket: Socket) => {
      socket.on('error', () => undefined)
      this.#gate.enter(socket)
    })
    this.#server.on('secureConnection', (socket) => {
      this.#admit(socket)
    })
    this.#server.on('tlsClientError', (error, socket) => {
      this.#failed(error, socket)
    })
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    const { host, port } = this.#options.address
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const text = `${host}:${String(port)}: ${error.code ?? error.message}`
        reject(new PosternError('LISTEN_FAILED', text, { host, port }, { cause: error }))
      })
      server.listen(port, host, resolve)
    })
    server.on('error', (error) => {
      this.#options.logger.error({ err: error }, 'the listener failed')
    })
    return server.address() as AddressInfo
  }

  get pendingCount(): number {
    return this.#gate.pendingCount
  }

  /** Handshakes from now on see this certificate, and are judged by these roots. */
  use(credential: Credential): void {
    this.#server.setSecureContext(secureContext(credential))
  }

  /** Takes no more connections; those that were handed out go on. */
  close(): void {
    this.#server.close()
    this.#gate.close()
  }

  #admit(socket: TLSSocket): void {
    this.#gate.leave(peerKey(socket))
    try {
      const wire = judgePeer(socket, this.#options.expected)
      this.#options.onPeer(wire)
    } catch (error) {
      const certificate = socket.getPeerX509Certificate()
      const refusal = tlsError(error)
      this.#refused(refusal, peerKey(socket), certificate?.subjectAltName ?? certificate?.subject)
      socket.on('error', () => undefined)
      // Only a peer whose chain was verified, and who speaks our protocol, is told the reason.
      if (TOLD.has(refusal.code)) socket.end(farewell(refusal))
      const { clock } = this.#options
      clock.startTimer(FAREWELL_MS, () => socket.destroy())
      if (!TOLD.has(refusal.code)) socket.destroy()
    }
  }

  #failed(error: Error, socket: TLSSocket): void {
    // Node hides why it refused a certificate behind a reset; the reason is on the socket.
    const { authorizationError } = socket as { authorizationError?: unknown }
    const cause =
      typeof authorizationError === 'string'
        ? Object.assign(new Error(), { code: authorizationError })
        : error
    const address = addressOf(socket)
    if (!this.#gate.wasEvicted(address)) this.#refused(tlsError(cause), address, subjectOf(socket))
    socket.on('error', () => undefined)
    socket.destroy()
  }

  #refused(error: PosternError, address: string, subject: string | undefined): void {
    const facts = {
      code: error.code,
      peer: address,
      subject,
      reason: error.rawMessage,
      ...error.facts,
    }
    this.#log.warn(error.code, facts, 'refused a connection')
  }
}

/** Called on the TLS socket (undocumented), which is the first sight of it; must not throw. */
function chooseAlpn(this: unknown, offer: { protocols: readonly string[] }): string | undefined {
  const socket = this as TLSSocket | undefined
  if (typeof socket?.prependListener === 'function') rememberSubject(socket)
  return offer.protocols.includes(ALPN) ? ALPN : undefined
}
