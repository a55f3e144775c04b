import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent, request as startRequest, type RequestOptions } from 'node:https'
import type { Socket } from 'node:net'
import { connect, type ConnectionOptions, type PeerCertificate, type TLSSocket } from 'node:tls'
import { PosternError } from '../base/errors.ts'
import { judgeHostName } from '../identity/host-name.ts'
import { judgeLeaf } from '../identity/leaf-rules.ts'
import type { Identity } from '../identity/name.ts'
import { isIssuedByOne } from '../identity/trust-bundle.ts'
import { tlsError } from './tls-errors.ts'
import { once, total } from './edge.ts'
import { DIRECT, type Egress } from './egress.ts'
import { readResponse, TooLong } from './response-body.ts'
import { exporterOf } from './tls-exporter.ts'
import { rootsOf, TLS_OPTIONS } from './tls-options.ts'

const ANSWER_BYTES_MAX = 64 * 1024
const HTTPS_PORT = 443
const TIMEOUT_MS = 20_000

/** A request that we send. */
export interface HttpsCall {
  readonly url: URL
  readonly method: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  /** Or made from bytes that only the two ends of the connection know (RFC 9266). */
  readonly body?: string | ((exporter: Buffer) => string)
  /** Longest time for all of it, in ms. Default 20 000. */
  readonly timeoutMs?: number
}

/** The answer to a request that we sent, bounded and decoded. */
export interface HttpsAnswer {
  readonly status: number
  readonly header: (name: string) => string | undefined
  readonly body: string
}

/** The roots, issuing keys and own identity that a request of ours goes with. */
export interface Trust {
  /** Roots that the server must chain to, in PEM. */
  readonly bundlePem: string
  /** Undefined: any; the leaf says which. */
  readonly trustDomain: string | undefined
  /** Key identifiers of the CAs that gateways may be issued by; none: any under the roots. */
  readonly issuingKeys?: readonly string[]
  /** The way out; default directly. */
  readonly egress?: Egress | undefined
  /** Why a server is refused whose chain, name and role are in order. Default: it is not. */
  readonly refuse?: ((identity: Identity) => PosternError | undefined) | undefined
  /** Ours, where the server asks for one. */
  readonly certificatePem?: string
  readonly keyPem?: string
}

/**
 * One request to a gateway. Not a byte of it leaves before the server's chain, its name and its role
 * have been judged. Redirects are answers like any other.
 * @throws the network and identity codes of docs/ERRORS.md
 */
export async function requestHttps(call: HttpsCall, trust: Trust): Promise<HttpsAnswer> {
  const { hostname } = call.url
  const host = hostname.replace(/^\[|\]$/g, '')
  const signal = deadlineOf(call)
  const agent = await agentOf(call, signal, trust.egress)
  return await send(call, signal, {
    agent,
    ...TLS_OPTIONS,
    ca: rootsOf(trust.bundlePem),
    ...(trust.certificatePem === undefined
      ? {}
      : { cert: trust.certificatePem, key: trust.keyPem }),
    checkServerIdentity: total(
      (_host: string, certificate: PeerCertificate) => judgeServer(certificate, host, trust),
      (fault) => fault,
    ),
  })
}

function judgeServer({ raw }: PeerCertificate, host: string, trust: Trust): Error | undefined {
  try {
    const identity = judgeLeaf(raw, { trustDomain: trust.trustDomain, roles: ['gateway'] })
    const refusal = trust.refuse?.(identity)
    if (refusal !== undefined) return refusal
  } catch (error) {
    if (error instanceof PosternError) return error
    throw error
  }
  if (!isIssuedByOne(raw, trust.issuingKeys ?? []))
    return new PosternError('CERT_UNTRUSTED', 'the CA of its certificate is retired')
  return judgeHostName(raw, host)
}

/**
 * Reads from a server that nothing is known of yet (RFC 7030 section 4.1.1): what it answers is
 * worth nothing until a pin has vouched for it. Sends no secret, and can send none.
 */
export async function requestUnverified(
  url: URL,
  egress: Egress,
  timeoutMs?: number,
): Promise<HttpsAnswer> {
  const call = { url, method: 'GET' } as const
  const signal = deadlineOf(timeoutMs === undefined ? call : { ...call, timeoutMs })
  const agent = await agentOf(call, signal, egress)
  return await send(call, signal, { agent, ...TLS_OPTIONS, rejectUnauthorized: false })
}

function deadlineOf({ timeoutMs = TIMEOUT_MS }: HttpsCall): AbortSignal {
  return AbortSignal.timeout(timeoutMs)
}

async function send(
  call: HttpsCall,
  signal: AbortSignal,
  options: RequestOptions,
): Promise<HttpsAnswer> {
  const { url, method, headers = {}, body = '' } = call
  try {
    return await new Promise<HttpsAnswer>((resolve, reject) => {
      const request = startRequest(url, { ...options, method, signal, headers })
      once(request, 'response', (response: IncomingMessage) => {
        readAnswer(response).then(resolve, reject)
      })
      once(request, 'error', reject)
      if (method === 'GET') request.end()
      else if (typeof body === 'string') finish(request, body)
      else
        once(request, 'socket', (socket: TLSSocket) => {
          once(socket, 'secureConnect', () => {
            const exporter = socket.authorized ? exporterOf(socket) : undefined
            if (exporter === undefined)
              request.destroy(new PosternError('TLS_VERSION', 'TLS 1.3 is needed for this'))
            else finish(request, body(exporter))
          })
        })
    })
  } catch (error) {
    const peer = url.host
    if (signal.aborted)
      throw new PosternError(
        'DIAL_TIMEOUT',
        `${peer} did not answer in time`,
        { peer },
        { cause: error },
      )
    const { code, rawMessage } = tlsError(error, 'DIAL_FAILED')
    throw new PosternError(code, `${peer}: ${rawMessage}`, { peer }, { cause: error })
  }
}

/** Of one request: a connection through the proxy, where there is one. */
async function agentOf(
  { url }: HttpsCall,
  signal: AbortSignal,
  egress = DIRECT,
): Promise<Agent | false> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = url.port === '' ? HTTPS_PORT : Number(url.port)
  const proxy = egress.proxyFor(host, port)
  if (proxy === undefined) return false
  const socket = await egress.through(proxy, { host, port }, signal)
  return new OneSocketAgent(socket)
}

/** Speaks TLS over a connection that is there. */
class OneSocketAgent extends Agent {
  readonly #socket: Socket

  constructor(socket: Socket) {
    super({ keepAlive: false, maxSockets: 1 })
    this.#socket = socket
  }

  override createConnection(options: RequestOptions): TLSSocket {
    return connect({ ...(options as ConnectionOptions), socket: this.#socket })
  }
}

function finish(request: ClientRequest, body: string): void {
  request.setHeader('content-length', Buffer.byteLength(body))
  request.end(body)
}

async function readAnswer(response: IncomingMessage): Promise<HttpsAnswer> {
  const body = await readResponse(response, ANSWER_BYTES_MAX).catch((error: unknown) => {
    if (!(error instanceof TooLong)) throw error
    throw new PosternError('ENROL_ANSWER_INVALID', 'the answer is too large')
  })
  return {
    status: response.statusCode ?? 0,
    header: (name) => {
      const value = response.headers[name]
      return typeof value === 'string' ? value : undefined
    },
    body: body.toString('latin1'),
  }
}
