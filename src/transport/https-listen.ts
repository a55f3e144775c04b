import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { PosternError, printable } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import type { Logger } from '../base/logger.ts'
import type { Address } from '../config/address.ts'
import type { Credential } from '../identity/key-files.ts'
import { judgeLeaf, type Expectation } from '../identity/leaf-rules.ts'
import type { Identity } from '../identity/name.ts'
import { ConnectionShares } from './connection-shares.ts'
import { HandshakeGate, peerKey, type HandshakeLimits } from './handshake-gate.ts'
import { tlsError } from './tls-errors.ts'
import { exporterOf } from './tls-exporter.ts'
import { secureContext } from './tls-options.ts'

export type { AddressInfo }

const HEADER_BYTES_MAX = 8 * 1024
const BODY_BYTES_MAX = 64 * 1024
/** A fleet behind one address enrols with short connections: it needs no more than these at once. */
const CONNECTIONS = { max: 1024, perNetworkMax: 128 }
const REQUESTS_PER_CONNECTION_MAX = 100
const REQUEST_MS_MAX = 10_000
const KEEP_ALIVE_MS = 5000
/** How often Node looks whether a request is too slow; half a minute by default. */
const SLOWNESS_CHECK_MS = 1000

export interface HttpRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly header: (name: string) => string | undefined
  readonly body: Buffer
  /** Network address of the client. */
  readonly address: string
  /** Of the client's verified certificate, where the listener asks for one. */
  readonly peer: { readonly identity: Identity; readonly leaf: Buffer } | undefined
  /** Bytes that only the two ends of this connection know (RFC 9266); undefined below TLS 1.3. */
  readonly exporter: () => Buffer | undefined
}

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
}

export interface HttpsOptions {
  readonly address: Address
  readonly credential: Credential
  /** Peers that must show a certificate; undefined: nobody is asked for one. */
  readonly expected: Expectation | undefined
  readonly limits: HandshakeLimits
  readonly clock: Clock
  readonly logger: Logger
  /** Must not reject; what it throws becomes 500 and a log line. */
  readonly handle: (request: HttpRequest) => Promise<HttpResponse>
}

/** HTTP/1.1 over TLS, bounded in everything that a client decides. */
export class HttpsListener {
  readonly #options: HttpsOptions
  readonly #server: Server
  readonly #gate: HandshakeGate
  readonly #shares = new ConnectionShares(CONNECTIONS)
  readonly #log: LogLimiter

  constructor(options: HttpsOptions) {
    this.#options = options
    this.#log = new LogLimiter(options.logger, options.clock)
    this.#gate = new HandshakeGate(options.limits, options.clock, (peer, reason) => {
      this.#log.warn(
        'HANDSHAKE_LIMIT',
        { code: 'HANDSHAKE_LIMIT', peer, reason },
        'refused a connection',
      )
    })
    const { credential, expected } = options
    this.#server = createServer(
      {
        ...secureContext(credential),
        requestCert: expected !== undefined,
        handshakeTimeout: options.limits.timeoutMs,
        maxHeaderSize: HEADER_BYTES_MAX,
        headersTimeout: REQUEST_MS_MAX,
        requestTimeout: REQUEST_MS_MAX,
        keepAliveTimeout: KEEP_ALIVE_MS,
        connectionsCheckingInterval: SLOWNESS_CHECK_MS,
      },
      (request, response) => {
        void this.#answer(request, response)
      },
    )
    this.#server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION_MAX
    this.#server.on('connection', (socket: Socket) => {
      socket.on('error', () => undefined)
      this.#shares.enter(socket)
      this.#gate.enter(socket)
    })
    this.#server.on('secureConnection', (socket) => {
      this.#gate.leave(peerKey(socket))
    })
    this.#server.on('tlsClientError', (error, socket) => {
      const { authorizationError } = socket as { authorizationError?: unknown }
      const cause =
        typeof authorizationError === 'string'
          ? Object.assign(new Error(), { code: authorizationError })
          : error
      const { code, rawMessage: reason } = tlsError(cause)
      this.#log.warn(code, { code, peer: peerKey(socket), reason }, 'refused a connection')
      socket.destroy()
    })
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    const { host, port } = this.#options.address
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => {
        const text = `${host}:${String(port)}: ${error.code ?? error.message}`
        reject(new PosternError('LISTEN_FAILED', text, { host, port }, { cause: error }))
      })
      this.#server.listen(port, host, resolve)
    })
    this.#server.on('error', (error) => {
      this.#options.logger.error({ err: error }, 'the listener failed')
    })
    return this.#server.address() as AddressInfo
  }

  /** Handshakes from now on see this certificate, and are judged by these roots. */
  use(credential: Credential): void {
    this.#server.setSecureContext(secureContext(credential))
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
    this.#gate.close()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await this.#decide(request)
    if (response.destroyed) return
    response.writeHead(answer.status, {
      'cache-control': 'no-store',
      'content-length': String(Buffer.byteLength(answer.body)),
      // A body that was not read to its end would be taken for the next request.
      ...(request.complete ? {} : { connection: 'close' }),
      ...answer.headers,
    })
    response.end(answer.body)
  }

  async #decide(request: IncomingMessage): Promise<HttpResponse> {
    const { socket } = request
    try {
      const body = await readBody(request)
      if (body === undefined) return text(413, `a body has at most ${String(BODY_BYTES_MAX)} bytes`)
      return await this.#options.handle({
        method: request.method ?? '',
        path: (request.url ?? '').split('?')[0] ?? '',
        header: (name) => {
          const value = request.headers[name]
          return typeof value === 'string' ? value : undefined
        },
        body,
        address: socket.remoteAddress ?? '',
        peer: this.#peerOf(socket),
        exporter: () => (socket instanceof TLSSocket ? exporterOf(socket) : undefined),
      })
    } catch (error) {
      if (error instanceof PosternError && error.code !== 'INTERNAL') {
        this.#log.warn(
          error.code,
          { code: error.code, peer: peerKey(socket), reason: error.rawMessage },
          'refused a request',
        )
        return text(403, printable(error.rawMessage))
      }
      // Who hangs up in the middle of a request is nobody's error.
      if (!request.complete) return text(400, 'the request is cut off')
      this.#log.warn('INTERNAL', { err: error }, 'a request failed')
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

export function json(status: number, value: object): HttpResponse {
  const headers = { 'content-type': 'application/json' }
  return { status, headers, body: `${JSON.stringify(value)}\n` }
}

export function notAllowed(method: string): HttpResponse {
  const answer = text(405, `this takes ${method}`)
  return { ...answer, headers: { ...answer.headers, allow: method } }
}

export function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: `${body}\n` }
}

/** Undefined where it is too large; the rest of it is then left unread. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > BODY_BYTES_MAX) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
