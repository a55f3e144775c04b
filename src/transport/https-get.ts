import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { PosternError } from '../base/errors.ts'
import { once } from './edge.ts'
import { readResponse } from './response-body.ts'
import { tlsError } from './tls-errors.ts'
import { TLS_OPTIONS } from './tls-options.ts'

const BYTES_MAX = 256 * 1024
const MS_MAX = 10_000

/**
 * Reads a document of a server that is not of ours, such as the keys of an OpenID issuer, over
 * verified TLS. Redirects are answers like any other. @throws the network and identity codes
 */
export async function getHttps(
  url: URL,
  caPem: string | undefined,
): Promise<{ readonly status: number; readonly body: string }> {
  if (url.protocol !== 'https:') throw new PosternError('DIAL_FAILED', `${url.href} is not https`)
  const options = { ...TLS_OPTIONS, ...(caPem === undefined ? {} : { ca: caPem }) }
  const signal = AbortSignal.timeout(MS_MAX)
  try {
    return await new Promise((resolve, reject) => {
      const request = get(url, { ...options, agent: false, signal })
      once(request, 'response', (response: IncomingMessage) => {
        readResponse(response, BYTES_MAX).then((body) => {
          resolve({ status: response.statusCode ?? 0, body: body.toString() })
        }, reject)
      })
      once(request, 'error', reject)
    })
  } catch (error) {
    const { code, rawMessage } = tlsError(error, 'DIAL_FAILED')
    throw new PosternError(code, `${url.host}: ${rawMessage}`, {}, { cause: error })
  }
}
