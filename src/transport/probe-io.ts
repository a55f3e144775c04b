import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { readResponse } from './response-body.ts'
import { PosternError } from '../base/errors.ts'
import { addressText, type Address } from '../base/address.ts'
import { on, once } from './edge.ts'
import { secureTarget } from './target-tls.ts'
import { dialTarget } from './tcp-dial.ts'

const BODY_BYTES_MAX = 64 * 1024
const GRPC_CHECK = '/grpc.health.v1.Health/Check'
const GRPC_PREFIX_BYTES = 5

/** One look at an HTTP service. */
export interface HttpProbe {
  readonly target: Address
  readonly path: string
  readonly isTls: boolean
  /** Roots to trust, in PEM; undefined: those of the system. */
  readonly caPem: string | undefined
}

/** The result of one look at an HTTP service. */
export interface HttpProbed {
  readonly status: number
  /** The first 64 KiB. */
  readonly body: string
}

/** Connects, and hangs up. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE */
export async function probeTcp(target: Address, signal: AbortSignal): Promise<void> {
  const socket = await dialTarget(target, signal)
  socket.destroy()
}

/** One GET, over a connection of its own; redirects are answers. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE */
export async function probeHttp(probe: HttpProbe, signal: AbortSignal): Promise<HttpProbed> {
  const { target, path, isTls, caPem } = probe
  const { host, port } = target
  const { get } = await import('node:http')
  // The one way to a target: its addresses are judged, and the connection pinned to them.
  const plain = await dialTarget(target, signal)
  const socket = isTls ? await secureTarget(plain, target, caPem, signal) : plain
  return await new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      reject(unreachable(error))
    }
    const headers = { host: addressText(target), 'user-agent': 'postern-probe' }
    const createConnection = (): Duplex => socket
    const options = { host, port, path, headers, signal, createConnection } as const
    const request = get(options)
    once(request, 'response', (response: IncomingMessage) => {
      readResponse(response, BODY_BYTES_MAX, 'cut').then((body) => {
        resolve({ status: response.statusCode ?? 0, body: body.toString('latin1') })
        request.destroy()
      }, fail)
    })
    once(request, 'error', fail)
  })
}

/**
 * grpc.health.v1.Health/Check over cleartext HTTP/2 (the protocol of github.com/grpc/grpc, doc/health-checking.md).
 * Resolves to the serving status, 1 for SERVING. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE
 */
export async function probeGrpc(
  target: Address,
  service: string,
  signal: AbortSignal,
): Promise<number> {
  const { connect } = await import('node:http2')
  const socket = await dialTarget(target, signal)
  return await new Promise((resolve, reject) => {
    const createConnection = (): Duplex => socket
    const session = connect(`http://${addressText(target)}`, { createConnection })
    const end = (act: () => void): void => {
      signal.removeEventListener('abort', onAbort)
      session.destroy()
      act()
    }
    const fail = (error: Error): void => {
      end(() => {
        reject(unreachable(error))
      })
    }
    const onAbort = (): void => {
      fail(new Error('aborted'))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    once(session, 'error', fail)
    const stream = session.request({
      ':method': 'POST',
      ':path': GRPC_CHECK,
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    let answer = Buffer.alloc(0)
    let grpcStatus = ''
    const note = (headers: Readonly<Record<string, unknown>>): void => {
      const status = headers['grpc-status']
      if (typeof status === 'string') grpcStatus = status
    }
    on(stream, 'response', note)
    on(stream, 'trailers', note)
    on(stream, 'error', fail)
    on(stream, 'data', (chunk: Buffer) => {
      if (answer.length < BODY_BYTES_MAX) answer = Buffer.concat([answer, chunk])
    })
    once(stream, 'end', () => {
      end(() => {
        if (grpcStatus === '0') resolve(servingStatus(answer))
        else
          reject(unreachable(new Error(`gRPC status ${grpcStatus === '' ? 'none' : grpcStatus}`)))
      })
    })
    stream.end(healthRequest(service))
  })
}

/** HealthCheckRequest { string service = 1 } with the length prefix of gRPC. */
function healthRequest(service: string): Buffer {
  const name = Buffer.from(service)
  const body = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name])
  const prefix = Buffer.alloc(GRPC_PREFIX_BYTES)
  prefix.writeUInt32BE(body.length, 1)
  return Buffer.concat([prefix, body])
}

/** HealthCheckResponse { ServingStatus status = 1 }; 0 (UNKNOWN) where the field is absent. */
function servingStatus(answer: Buffer): number {
  return answer[GRPC_PREFIX_BYTES] === 0x08 ? (answer[GRPC_PREFIX_BYTES + 1] ?? 0) : 0
}

function unreachable(error: Error): PosternError {
  const { code } = error as NodeJS.ErrnoException
  const text = `the target did not answer (${code ?? error.message})`
  return new PosternError('TARGET_UNREACHABLE', text, {}, { cause: error })
}
