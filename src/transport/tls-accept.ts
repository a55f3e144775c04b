import type { AddressInfo } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'

import type { Logger } from '../base/logger.ts'
import type { Credential } from '../identity/key-files.ts'
import type { Expectation } from '../identity/leaf-rules.ts'
import { ignoreErrors, on, total } from './edge.ts'
import { dismiss } from './farewell.ts'
import { Front } from './front.ts'
import type { HandshakeLimits } from './handshake-gate.ts'
import { judgePeer } from './judge-peer.ts'
import type { Address } from '../base/address.ts'
import type { NetworkBudget } from './network-budget.ts'
import { peerKey } from './peer-address.ts'
import { addressOf, namesOf, rememberSubject, subjectOf } from './peer-subject.ts'
import { handshakeError } from './tls-errors.ts'
import { ALPN, secureContext } from './tls-options.ts'
import type { TlsWire } from './tls-wire.ts'
import type { TrustedProxies } from './trusted-proxies.ts'

/** The values and collaborators that `TlsListener` is given. */
export interface AcceptOptions {
  readonly address: Address
  readonly credential: Credential
  readonly expected: Expectation
  readonly limits: HandshakeLimits
  readonly clock: Clock
  readonly logger: Logger
  /** What the networks of strangers may cost, over all listeners of the process. */
  readonly budget: NetworkBudget
  readonly proxies: TrustedProxies
  readonly onPeer: (wire: TlsWire) => void
}

/** Accepts mutual-TLS connections from peers of the expected roles, and nobody else. */
export class TlsListener {
  readonly #options: AcceptOptions
  readonly #server: Server
  readonly #front: Front
  readonly #log: LogLimiter

  constructor(options: AcceptOptions) {
    this.#options = options
    this.#log = new LogLimiter(options.logger, options.clock)
    const { credential } = options
    this.#server = createServer({
      // One context per port, chosen by no name that a peer sends.
      ...secureContext(credential),
      requestCert: true,
      handshakeTimeout: options.limits.timeoutMs,
      ALPNCallback: chooseAlpn,
    })
    this.#front = new Front({
      ...options,
      begin: (socket) => this.#server.emit('connection', socket),
      onRefused: (error, peer) => {
        this.#refused(error, peer, undefined)
      },
    })
    on(this.#server, 'secureConnection', (socket: TLSSocket) => {
      this.#admit(socket)
    })
    on(this.#server, 'tlsClientError', (error: Error, socket: TLSSocket) => {
      this.#failed(error, socket)
    })
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    return await this.#front.listen()
  }

  /** Handshakes from now on see this certificate, and are judged by these roots. */
  use(credential: Credential): void {
    this.#server.setSecureContext(secureContext(credential))
  }

  /** Takes no more connections; those that were handed out go on. */
  close(): void {
    this.#front.close()
  }

  #admit(socket: TLSSocket): void {
    this.#front.gate.passed(socket)
    try {
      const wire = judgePeer(socket, this.#options.expected)
      this.#options.onPeer(wire)
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      const certificate = socket.getPeerX509Certificate()
      const refusal = error
      const subject = certificate === undefined ? undefined : namesOf(certificate).subject
      this.#refused(refusal, peerKey(socket), subject)
      dismiss(socket, refusal)
    }
  }

  #failed(error: Error, socket: TLSSocket): void {
    const address = addressOf(socket)
    this.#front.gate.failed(socket)
    if (!this.#front.gate.wasEvicted(socket))
      this.#refused(handshakeError(error, socket), address, subjectOf(socket))
    ignoreErrors(socket)
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

/** Called on the TLS socket (undocumented), which is the first sight of it. */
function chooseAlpn(this: unknown, offer: { protocols: readonly string[] }): string | undefined {
  return choose(this as TLSSocket | undefined, offer.protocols)
}

const choose = total(
  (socket: TLSSocket | undefined, offered: readonly string[]): string | undefined => {
    if (typeof socket?.prependListener === 'function') rememberSubject(socket)
    return offered.includes(ALPN) ? ALPN : undefined
  },
  () => undefined,
)
