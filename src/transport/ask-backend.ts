import { request as requestPlain, type ClientRequest, type IncomingMessage } from 'node:http'
import { request as requestTls } from 'node:https'
import { PosternError } from '../base/errors.ts'
import { on, once } from './edge.ts'
import { readResponse, TooLong } from './response-body.ts'
import { rotatedLookup } from './rotated-lookup.ts'
import { tlsError } from './tls-errors.ts'
import { TLS_OPTIONS, trustIn } from './tls-options.ts'

const BYTES_MAX = 1024 * 1024
const MS_MAX = 20_000
/** Of the names of those the first address is tried first: there are none to spread. */
const LOOKUP = rotatedLookup({ fraction: () => 0 })

/** A request to what lies behind the agent. */
export interface BackendCall {
  /** `https`, or `http` where whoever names it has judged that. */
  readonly url: URL
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Roots to trust, in PEM. Default: those of the system. */
  readonly caPem?: string | undefined
  /** Ours, where the server asks for one, in PEM. */
  readonly certificatePem?: string | undefined
  readonly keyPem?: string | undefined
  /** Longest answer, in bytes. Default 1 MiB. */
  readonly bytesMax?: number
  /** Longest time for all of it, in ms. Default 20 000. */
  readonly msMax?: number
  readonly signal?: AbortSignal
}

/** The answer of what lies behind the agent, whatever its status. */
export interface BackendAnswer {
  readonly status: number
  readonly header: (name: string) => string | undefined
  readonly body: Buffer
}

/**
 * Asks a server behind the agent, over verified TLS. Names that resolve to metadata services are not asked, redirects are
 * answers like any other, and the connection ends with the signal. Of one that does not answer `isSent` says whether it may have had the request. @throws BACKEND_UNREACHABLE, BACKEND_REFUSED for an answer over its bound
 */
export async function askBackend(call: BackendCall): Promise<BackendAnswer> {
  const { signal = new AbortController().signal, msMax = MS_MAX } = call
  let isSent = false
  const ended = AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, Math.ceil(msMax)))])
  try {
    return await new Promise((resolve, reject) => {
      const request = start(call, ended)
      once(request, 'response', (response: IncomingMessage) => {
        answerOf(response, call).then(resolve, reject)
      })
      on(request, 'error', reject)
      once(request, 'finish', () => {
        isSent = true
      })
      request.end(call.body)
    })
  } catch (error) {
    if (error instanceof TooLong) throw new PosternError('BACKEND_REFUSED', error.message)
    const { host } = call.url
    const text = ended.aborted ? 'no answer in time' : tlsError(error, 'DIAL_FAILED').rawMessage
    throw new PosternError('BACKEND_UNREACHABLE', `${host}: ${text}`, { isSent }, { cause: error })
  }
}

function start(call: BackendCall, signal: AbortSignal): ClientRequest {
  const { url, method, body, caPem, certificatePem, keyPem } = call
  const length = body === undefined ? undefined : Buffer.byteLength(body)
  const headers = {
    ...call.headers,
    ...(length === undefined ? {} : { 'content-length': String(length) }),
  }
  const common = { method, headers, agent: false, signal, lookup: LOOKUP } as const
  if (url.protocol === 'http:') return requestPlain(url, common)
  return requestTls(url, {
    ...common,
    ...TLS_OPTIONS,
    ...trustIn(caPem),
    ...(certificatePem === undefined ? {} : { cert: certificatePem, key: keyPem }),
  })
}

async function answerOf(
  response: IncomingMessage,
  { bytesMax = BYTES_MAX }: BackendCall,
): Promise<BackendAnswer> {
  const body = await readResponse(response, bytesMax)
  return {
    status: response.statusCode ?? 0,
    header: (name) => {
      const value = response.headers[name]
      return typeof value === 'string' ? value : undefined
    },
    body,
  }
}
