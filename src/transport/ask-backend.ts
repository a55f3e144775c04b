import type { IncomingMessage } from 'node:http'
import { PosternError } from '../base/errors.ts'
import { startRequest, type BackendRequest } from './backend-request.ts'
import { on, once } from './edge.ts'
import { readResponse, TooLong } from './response-body.ts'
import { tlsError } from './tls-errors.ts'

const BYTES_MAX = 1024 * 1024
const MS_MAX = 20_000

/** A request to what lies behind the agent. */
export interface BackendCall extends BackendRequest {
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
      const request = startRequest(call, ended)
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
    if (error instanceof TooLong)
      throw new PosternError('BACKEND_REFUSED', error.message, { isTooLong: true })
    const { host } = call.url
    const text = ended.aborted ? 'no answer in time' : tlsError(error, 'DIAL_FAILED').rawMessage
    throw new PosternError('BACKEND_UNREACHABLE', `${host}: ${text}`, { isSent }, { cause: error })
  }
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
