import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { readResponse } from './response-body.ts'
import { PosternError } from '../base/errors.ts'
import { addressText, type Address } from '../base/address.ts'
import { once } from './edge.ts'
import { secureTarget } from './target-tls.ts'
import { dialTarget } from './tcp-dial.ts'

const BODY_BYTES_MAX = 64 * 1024
const GRPC_CHECK = '/grpc.health.v1.Health/Check'
/** A probe has a time of its own. */
const MS_MAX = 3_600_000

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
  const { askGrpc } = await import('./ask-grpc.ts')
  const url = new URL(`http://${addressText(target)}${GRPC_CHECK}`)
  const body = healthRequest(service)
  try {
    return servingStatus(
      await askGrpc({ url, body, bytesMax: BODY_BYTES_MAX, msMax: MS_MAX, signal }),
    )
  } catch (error) {
    if (!(error instanceof PosternError) || error.code === 'TARGET_FORBIDDEN') throw error
    throw unreachable(new Error(error.rawMessage))
  }
}

/** HealthCheckRequest { string service = 1 }. */
function healthRequest(service: string): Buffer {
  const name = Buffer.from(service)
  return name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name])
}

/** HealthCheckResponse { ServingStatus status = 1 }; 0 (UNKNOWN) where the field is absent. */
function servingStatus(answer: Buffer): number {
  return answer[0] === 0x08 ? (answer[1] ?? 0) : 0
}

function unreachable(error: Error): PosternError {
  const { code } = error as NodeJS.ErrnoException
  const text = `the target did not answer (${code ?? error.message})`
  return new PosternError('TARGET_UNREACHABLE', text, {}, { cause: error })
}
