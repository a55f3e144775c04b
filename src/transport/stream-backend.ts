import type { IncomingMessage } from 'node:http'
import { PosternError } from '../base/errors.ts'
import { startRequest, type BackendRequest } from './backend-request.ts'
import { on, once } from './edge.ts'
import { tlsError } from './tls-errors.ts'

const HEAD_MS_MAX = 20_000
const KEEP_ALIVE_MS = 30_000

/** An answer whose body comes piece by piece, no faster than it is asked for. */
export interface BackendStream {
  readonly status: number
  /** Throws BACKEND_UNREACHABLE where it is cut off. Leaving it ends the connection. */
  readonly body: AsyncIterable<Buffer>
  /** Ends the connection: where its body is not read. */
  readonly close: () => void
}

/** Asks a server behind the agent for what may have no end, as `askBackend` asks for the rest. @throws BACKEND_UNREACHABLE */
export async function streamBackend(
  call: BackendRequest & { readonly signal: AbortSignal },
): Promise<BackendStream> {
  const late = new AbortController()
  const timer = AbortSignal.timeout(HEAD_MS_MAX)
  const onLate = (): void => {
    late.abort()
  }
  timer.addEventListener('abort', onLate, { once: true })
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = startRequest(call, AbortSignal.any([call.signal, late.signal]))
      once(request, 'response', resolve)
      on(request, 'error', reject)
      request.end(call.body)
    })
    // Whoever goes without a word is found out by the kernel.
    response.socket.setKeepAlive(true, KEEP_ALIVE_MS)
    return {
      status: response.statusCode ?? 0,
      body: piecesOf(response, call),
      close: () => {
        response.destroy()
      },
    }
  } catch (error) {
    throw unreachable(error, call.url)
  } finally {
    timer.removeEventListener('abort', onLate)
  }
}

async function* piecesOf(
  response: IncomingMessage,
  { url, signal }: { readonly url: URL; readonly signal: AbortSignal },
): AsyncGenerator<Buffer, void> {
  try {
    for await (const piece of response as AsyncIterable<Buffer>) yield piece
  } catch (error) {
    if (!signal.aborted) throw unreachable(error, url)
  } finally {
    response.destroy()
  }
}

function unreachable(error: unknown, { host }: URL): PosternError {
  const text = tlsError(error, 'DIAL_FAILED').rawMessage
  return new PosternError('BACKEND_UNREACHABLE', `${host}: ${text}`, {}, { cause: error })
}
