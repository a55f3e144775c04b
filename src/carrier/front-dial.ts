import type { IncomingMessage } from 'node:http'
import { connect, type TLSSocket } from 'node:tls'
import type { WebSocket } from 'ws'
import { addressText, type Address } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { VERSION } from '../base/version.ts'
import { ignoreErrors, on, once } from '../transport/edge.ts'
import type { Egress } from '../transport/egress.ts'
import { tlsError } from '../transport/tls-errors.ts'
import { trustIn } from '../transport/tls-options.ts'
import { frontRefusal } from './front-refusal.ts'
import { FrontStream } from './front-stream.ts'
import type { ServiceToken } from './service-token.ts'

/** Of one message; connectors send no more than 16 KiB. */
const MESSAGE_BYTES_MAX = 256 * 1024
const HEAD_BYTES_MAX = 32 * 1024

/** Where a front is, and how it is reached. */
export interface FrontOptions {
  readonly address: Address
  /** Roots of the front in PEM; undefined: those of the system. */
  readonly caPem: string | undefined
  /** For Cloudflare Access; undefined: none is shown. */
  readonly token: ServiceToken | undefined
  readonly egress: Egress
  readonly clock: Clock
  /** Gives up when it is aborted. */
  readonly signal: AbortSignal
}

/**
 * Dials a front over WSS (RFC 6455) as a client of Cloudflare does that carries TCP. What comes of it is a stream and nothing
 * else: the front ends the outer TLS, and is trusted with nothing that goes through.
 * @throws FRONT_LOGIN, FRONT_FORBIDDEN, FRONT_NO_WEBSOCKET, FRONT_REFUSED, and the codes of dialling, TLS and proxies
 */
export async function dialFront(options: FrontOptions): Promise<FrontStream> {
  const { address } = options
  // Nobody who does not use a front loads what speaks to it.
  const { WebSocket: Client } = await import('ws')
  const outer = await outerTls(options)
  const peer = addressText(address)
  const client = new Client(`wss://${peer}/`, {
    createConnection: () => outer,
    headers: headersOf(options),
    maxPayload: MESSAGE_BYTES_MAX,
    maxHeaderSize: HEAD_BYTES_MAX,
    perMessageDeflate: false,
    followRedirects: false,
  })
  try {
    return await opened(client, peer, options)
  } catch (error) {
    ignoreErrors(client)
    client.terminate()
    outer.destroy()
    throw error
  }
}

function headersOf({ address: { host, port }, token }: FrontOptions): Record<string, string> {
  const name = host.includes(':') ? `[${host}]` : host
  return {
    host: port === 443 ? name : `${name}:${String(port)}`,
    'user-agent': `postern/${VERSION}`,
    ...(token === undefined
      ? {}
      : { 'cf-access-client-id': token.id, 'cf-access-client-secret': token.secret }),
  }
}

/** Resolves once the front has opened the WebSocket. */
async function opened(
  client: WebSocket,
  peer: string,
  { signal, clock }: FrontOptions,
): Promise<FrontStream> {
  const { promise, resolve, reject } = Promise.withResolvers<FrontStream>()
  const onAbort = (): void => {
    reject(timeout(peer))
  }
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  const offs = [
    once(client, 'open', () => {
      // At once: what came with the answer is told next, and to nobody else.
      resolve(new FrontStream(client, clock))
    }),
    once(client, 'error', (error: Error) => {
      reject(framed(error, peer))
    }),
    on(client, 'unexpected-response', (_request: unknown, response: IncomingMessage) => {
      response.resume()
      reject(frontRefusal(peer, response))
    }),
  ]
  try {
    return await promise
  } finally {
    signal.removeEventListener('abort', onAbort)
    for (const off of offs) off()
  }
}

/** What is wrong with a handshake that came so far as to be judged is of the front, else of the network. */
function framed(error: Error & { code?: string }, peer: string): PosternError {
  if (error.code === undefined || error.code.startsWith('HPE_'))
    return new PosternError('FRONT_REFUSED', `${peer}: bad handshake: ${error.message}`, { peer })
  const { code, rawMessage } = tlsError(error, 'CONNECTION_LOST')
  return new PosternError(code, `${peer}: ${rawMessage}`, { peer }, { cause: error })
}

/** The outer TLS, to the front: by the roots of the system, as that of any site. */
async function outerTls({ address, caPem, egress, signal }: FrontOptions): Promise<TLSSocket> {
  const { host, port } = address
  const peer = addressText(address)
  const trust = trustIn(caPem)
  const proxy = egress.proxyFor(host, port)
  const through =
    proxy === undefined ? undefined : await egress.through(proxy, { host, port }, signal)
  const socket = connect({
    minVersion: 'TLSv1.2',
    ...trust,
    // Whatever a variable of Node's says: it gets the service token.
    rejectUnauthorized: true,
    ...(through === undefined ? { host, port, autoSelectFamily: true } : { socket: through }),
    ...(/^[0-9.]+$|:/.test(host) ? { host } : { servername: host }),
    ALPNProtocols: ['http/1.1'],
  })
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>()
  const onAbort = (): void => {
    socket.destroy()
    reject(timeout(peer))
  }
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  const offs = [
    once(socket, 'secureConnect', () => {
      socket.setNoDelay(true)
      resolve(socket)
    }),
    once(socket, 'error', (error: Error) => {
      const { code, rawMessage } = tlsError(error, 'DIAL_FAILED')
      const text = `the front ${peer}: ${rawMessage}`
      reject(new PosternError(code, text, { peer }, { cause: error }))
    }),
    once(socket, 'close', () => {
      reject(new PosternError('CONNECTION_LOST', `the front ${peer} hung up`, { peer }))
    }),
  ]
  try {
    return await promise
  } catch (error) {
    ignoreErrors(socket)
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    for (const off of offs) off()
  }
}

function timeout(peer: string): PosternError {
  return new PosternError('DIAL_TIMEOUT', `the front ${peer} did not open a WebSocket in time`, {
    peer,
  })
}
