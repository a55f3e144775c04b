import { connect, type ClientHttp2Session } from 'node:http2'
import type { Duplex } from 'node:stream'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, on, once } from './edge.ts'
import { secureTarget } from './target-tls.ts'
import { dialTarget } from './tcp-dial.ts'

const PREFIX_BYTES = 5
const OK = '0'
/** UNAUTHENTICATED and PERMISSION_DENIED (grpc.github.io, "Status codes"). */
const DENIED = ['16', '7']
const PORTS = { 'https:': 443, 'http:': 80 } as const

/** One unary gRPC call to a server behind the agent. */
export interface GrpcCall {
  /** With the path "/package.Service/Method". */
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  /** The request, encoded. */
  readonly body: Uint8Array
  readonly caPem?: string | undefined
  readonly certificatePem?: string | undefined
  readonly keyPem?: string | undefined
  /** Longest answer, in bytes. */
  readonly bytesMax: number
  /** Longest time for all of it, in ms. */
  readonly msMax: number
  readonly signal: AbortSignal
}

/**
 * Makes a unary call over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md), over a connection of its own, and resolves to the answer,
 * encoded. @throws BACKEND_UNREACHABLE, BACKEND_REFUSED, CREDENTIALS_MISSING
 */
export async function askGrpc(call: GrpcCall): Promise<Buffer> {
  const ended = AbortSignal.any([
    call.signal,
    AbortSignal.timeout(Math.max(1, Math.ceil(call.msMax))),
  ])
  let session: ClientHttp2Session | undefined
  let dialled: Duplex | undefined
  try {
    const socket = await dial(call, ended)
    dialled = socket
    session = connect(call.url.origin, { createConnection: (): Duplex => socket })
    ignoreErrors(session)
    return await ask(session, call, ended)
  } catch (error) {
    if (error instanceof PosternError && error.code !== 'TARGET_UNREACHABLE') throw error
    const why = ended.aborted ? 'no answer in time' : (error as Error).message
    throw new PosternError('BACKEND_UNREACHABLE', `${call.url.host}: ${why}`, {}, { cause: error })
  } finally {
    session?.destroy()
    dialled?.destroy()
  }
}

async function dial(call: GrpcCall, signal: AbortSignal): Promise<Duplex> {
  const { url, caPem, certificatePem, keyPem } = call
  const port = url.port === '' ? PORTS[url.protocol as keyof typeof PORTS] : Number(url.port)
  const target = { host: url.hostname.replace(/^\[|\]$/g, ''), port }
  const socket = await dialTarget(target, signal)
  if (url.protocol === 'http:') return socket
  const own = { certificatePem, keyPem, protocols: ['h2'] }
  return await secureTarget(socket, target, caPem, signal, own)
}

async function ask(
  session: ClientHttp2Session,
  { url, headers, body, bytesMax, msMax }: GrpcCall,
  signal: AbortSignal,
): Promise<Buffer> {
  return await new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      reject(error)
    }
    const onAbort = (): void => {
      fail(new Error('aborted'))
    }
    // An end that came before is told to nobody who listens now.
    if (signal.aborted) {
      onAbort()
      return
    }
    signal.addEventListener('abort', onAbort, { once: true })
    once(session, 'error', fail)
    const stream = session.request({
      ...{ ':method': 'POST', ':path': url.pathname, 'content-type': 'application/grpc' },
      ...{ te: 'trailers', 'grpc-timeout': `${String(Math.min(99_999_999, Math.ceil(msMax)))}m` },
      ...headers,
    })
    const parts: Buffer[] = []
    let length = 0
    let status = ''
    const note = (told: Readonly<Record<string, unknown>>): void => {
      if (typeof told['grpc-status'] === 'string') status = told['grpc-status']
    }
    on(stream, 'response', note)
    on(stream, 'trailers', note)
    on(stream, 'error', fail)
    on(stream, 'data', (chunk: Buffer) => {
      length += chunk.length
      if (length > bytesMax + PREFIX_BYTES)
        fail(new PosternError('BACKEND_REFUSED', 'its answer is over its bound'))
      else parts.push(chunk)
    })
    once(stream, 'end', () => {
      const answer = Buffer.concat(parts)
      const isWhole = answer.length >= PREFIX_BYTES && answer[0] === 0
      const isDenied = DENIED.includes(status)
      if (status === OK && isWhole && answer.readUInt32BE(1) === answer.length - PREFIX_BYTES)
        resolve(answer.subarray(PREFIX_BYTES))
      else
        reject(
          new PosternError(
            isDenied ? 'CREDENTIALS_MISSING' : 'BACKEND_REFUSED',
            `gRPC status ${status === '' ? 'none' : status}`,
          ),
        )
    })
    const prefix = Buffer.alloc(PREFIX_BYTES)
    prefix.writeUInt32BE(body.length, 1)
    stream.end(Buffer.concat([prefix, body]))
  })
}
