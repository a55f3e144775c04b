import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { PosternError, printable } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import type { Logger } from '../base/logger.ts'
import type { Address } from '../base/address.ts'
import type { Credential } from '../identity/key-files.ts'
import { judgeLeaf, type Expectation } from '../identity/leaf-rules.ts'
import type { Identity } from '../identity/name.ts'
import { ConnectionShares } from './connection-shares.ts'
import { on, tell } from './edge.ts'
import { Front } from './front.ts'
import type { HandshakeLimits } from './handshake-gate.ts'
import { text, type HttpResponse } from './http-answer.ts'
import { bodyLength, CutOff, pathOf, readBody } from './http-body.ts'
import type { NetworkBudget } from './network-budget.ts'
import { networkOf, peerAddress, peerKey } from './peer-address.ts'
import { addressOf } from './peer-subject.ts'
import { RawMeter } from './raw-meter.ts'
import { handshakeError } from './tls-errors.ts'
import { exporterOf } from './tls-exporter.ts'
import { secureContext } from './tls-options.ts'
import type { TrustedProxies } from './trusted-proxies.ts'

export type { AddressInfo }

const HEADER_BYTES_MAX = 8 * 1024
/** What a refused request, and a connection of far more bytes than content, cost their network in loop time. */
const REFUSAL_MS = 1
const RAW_EXCESS_MS = 20
/** A fleet behind one address enrols with short connections: it needs no more than these at once. */
const CONNECTIONS = { max: 1024, perNetworkMax: 128 }
const REQUESTS_PER_CONNECTION_MAX = 100
const REQUEST_MS_MAX = 10_000
const KEEP_ALIVE_MS = 5000
/** How often Node looks whether a request is too slow; half a minute by default. */
const SLOWNESS_CHECK_MS = 1000

/** A request whose head was judged; its body is read only when it is asked for. */
export interface HttpRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly header: (name: string) => string | undefined
  /** Reads the body, which is not touched before. Judge all that can be without it first. */
  readonly body: () => Promise<Buffer>
  /** Network address of the client. */
  readonly address: string
  /** Of the client's verified certificate, where the listener asks for one. */
  readonly peer: { readonly identity: Identity; readonly leaf: Buffer } | undefined
  /** Bytes that only the two ends of this connection know (RFC 9266); undefined below TLS 1.3. */
  readonly exporter: () => Buffer | undefined
}

/** The values and collaborators that `HttpsListener` is given. */
export interface HttpsOptions {
  readonly address: Address
  readonly credential: Credential
  /** Peers that must show a certificate; undefined: nobody is asked for one. */
  readonly expected: Expectation | undefined
  /** Authorities, in PEM, that clients may leave out of their chains. */
  readonly intermediatesPem?: () => string
  readonly limits: HandshakeLimits
  readonly clock: Clock
  readonly logger: Logger
  /** What the networks of strangers may cost, over all listeners of the process. */
  readonly budget: NetworkBudget
  readonly proxies: TrustedProxies
  /** Must not reject; what it throws becomes 500 and a log line. */
  readonly handle: (request: HttpRequest) => Promise<HttpResponse>
}

/** HTTP/1.1 over TLS, bounded in everything that a client decides. */
export class HttpsListener {
  readonly #options: HttpsOptions
  readonly #server: Server
  readonly #front: Front
  readonly #shares = new ConnectionShares(CONNECTIONS)
  readonly #meter: RawMeter
  readonly #log: LogLimiter

  constructor(options: HttpsOptions) {
    this.#options = options
    const { credential, expected, budget, clock, logger } = options
    this.#log = new LogLimiter(logger, clock)
    this.#meter = new RawMeter(clock, (address) => {
      budget.charge(networkOf(address), RAW_EXCESS_MS)
    })
    this.#server = createServer({
      ...secureContext(credential, options.intermediatesPem?.()),
      requestCert: expected !== undefined,
      handshakeTimeout: options.limits.timeoutMs,
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: REQUEST_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: SLOWNESS_CHECK_MS,
    })
    this.#server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION_MAX
    this.#front = new Front({
      ...options,
      onConnection: (socket) => {
        this.#shares.enter(socket)
        this.#meter.watch(socket)
      },
      begin: (socket) => this.#server.emit('connection', socket),
      onRefused: (error, peer) => {
        this.#refused(error, peer)
      },
    })
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      this.#answer(request, response).catch((error: unknown) => {
        tell(error)
        response.destroy()
      })
    }
    on(this.#server, 'request', answer)
    // Who waits to be asked for the body is answered by what the head alone deserves.
    on(this.#server, 'checkContinue', answer)
    on(this.#server, 'secureConnection', (socket: TLSSocket) => {
      this.#front.gate.passed(socket)
    })
    on(this.#server, 'tlsClientError', (error: Error, socket: TLSSocket) => {
      const address = addressOf(socket)
      this.#front.gate.failed(socket)
      if (!this.#front.gate.wasEvicted(socket))
        this.#refused(handshakeError(error, socket), address)
      socket.destroy()
    })
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    const address = await this.#front.listen()
    // It gets its connections from the front, and looks for slow ones once it hears this.
    this.#server.emit('listening')
    return address
  }

  /** Handshakes from now on see this certificate, and are judged by these roots. */
  use(credential: Credential): void {
    const { intermediatesPem } = this.#options
    this.#server.setSecureContext(secureContext(credential, intermediatesPem?.()))
  }

  close(): void {
    this.#front.close()
    this.#meter.close()
    this.#server.closeAllConnections()
    this.#server.close()
  }

  #refused(error: PosternError, peer: string): void {
    const { code, rawMessage: reason } = error
    this.#log.warn(code, { code, peer, reason }, 'refused a connection')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request
    const network = networkOf(peerAddress(socket))
    const length = bodyLength(request)
    // A body whose end is not known would be taken for the next request.
    const isCut = typeof length !== 'number'
    this.#meter.announce(socket, isCut ? 0 : length)
    const answer = isCut ? length : await this.#decide(request, response, network, length)
    if (answer.status >= 400) this.#options.budget.charge(network, REFUSAL_MS)
    if (response.destroyed) return
    response.writeHead(answer.status, {
      'Cache-Control': 'no-store',
      'Content-Length': String(Buffer.byteLength(answer.body)),
      ...(isCut ? { Connection: 'close' } : {}),
      ...answer.headers,
    })
    response.end(request.method === 'HEAD' ? '' : answer.body, () => {
      if (!isCut) this.#meter.renew(socket)
    })
  }

  async #decide(
    request: IncomingMessage,
    response: ServerResponse,
    network: string,
    length: number,
  ): Promise<HttpResponse> {
    const { socket } = request
    try {
      if (!this.#options.budget.has(network))
        return text(429, 'too much was refused to this network')
      const path = pathOf(request.url ?? '')
      if (path === undefined) return text(400, 'the target of the request is malformed')
      let body: Promise<Buffer> | undefined
      return await this.#options.handle({
        // RFC 9110 section 9.3.2: as GET, without the body.
        method: request.method === 'HEAD' ? 'GET' : (request.method ?? ''),
        path,
        header: (name) => {
          const value = request.headers[name]
          return typeof value === 'string' ? value : undefined
        },
        body: () => {
          if (body === undefined && request.headers.expect !== undefined) response.writeContinue()
          return (body ??= readBody(request, length))
        },
        address: peerAddress(socket),
        peer: this.#peerOf(socket),
        exporter: () => (socket instanceof TLSSocket ? exporterOf(socket) : undefined),
      })
    } catch (error) {
      if (error instanceof CutOff) return text(400, 'the request is cut off')
      if (error instanceof PosternError && error.code !== 'INTERNAL') {
        this.#log.warn(
          error.code,
          { code: error.code, peer: peerKey(socket), reason: error.rawMessage },
          'refused a request',
        )
        return text(403, printable(error.rawMessage))
      }
      this.#log.warn('INTERNAL', { code: 'INTERNAL', err: error }, 'a request failed')
      return text(500, 'the request failed; the log of the gateway says why')
    }
  }

  /** @throws CERT_MISSING, CERT_UNTRUSTED, CERT_LEAF_RULES, IDENTITY_ROLE, IDENTITY_TRUST_DOMAIN */
  #peerOf(socket: Socket): HttpRequest['peer'] {
    const { expected } = this.#options
    if (expected === undefined) return undefined
    if (!(socket instanceof TLSSocket))
      throw new PosternError('CERT_MISSING', 'the connection is not encrypted')
    const leaf = socket.getPeerX509Certificate()
    if (leaf === undefined)
      throw new PosternError('CERT_MISSING', 'the peer presented no certificate')
    if (!socket.authorized || socket.isSessionReused())
      throw new PosternError('CERT_UNTRUSTED', 'the chain was not verified in this handshake')
    return { identity: judgeLeaf(leaf.raw, expected), leaf: leaf.raw }
  }
}
