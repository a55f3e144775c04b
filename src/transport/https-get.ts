import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { PosternError } from '../base/errors.ts'
import { once } from './edge.ts'
import { readResponse } from './response-body.ts'
import { tlsError } from './tls-errors.ts'
import { TLS_OPTIONS, trustIn } from './tls-options.ts'

const BYTES_MAX = 256 * 1024
const MS_MAX = 10_000

/** The status and body of an answer. */
export interface PlainAnswer {
  readonly status: number
  readonly body: string
}

/**
 * Reads a document of a server that is not of ours, such as the keys of an OpenID issuer, over
 * verified TLS. Redirects are answers like any other. @throws the network and identity codes
 */
export async function getHttps(url: URL, caPem: string | undefined): Promise<PlainAnswer> {
  return await ask(url, 'GET', undefined, caPem)
}

/** Sends JSON to a server that is not of ours, over TLS verified by the roots of the system. Redirects are answers like any other. @throws the network and identity codes */
export async function postHttps(url: URL, json: string): Promise<PlainAnswer> {
  return await ask(url, 'POST', json, undefined)
}

async function ask(
  url: URL,
  method: 'GET' | 'POST',
  body: string | undefined,
  caPem: string | undefined,
): Promise<PlainAnswer> {
  if (url.protocol !== 'https:') throw new PosternError('DIAL_FAILED', `${url.href} is not https`)
  const headers = body === undefined ? {} : { 'content-type': 'application/json' }
  const options = { ...TLS_OPTIONS, ...trustIn(caPem), headers, method }
  const signal = AbortSignal.timeout(MS_MAX)
  try {
    return await new Promise((resolve, reject) => {
      const call = request(url, { ...options, agent: false, signal })
      once(call, 'response', (response: IncomingMessage) => {
        readResponse(response, BYTES_MAX).then((answer) => {
          resolve({ status: response.statusCode ?? 0, body: answer.toString() })
        }, reject)
      })
      once(call, 'error', reject)
      call.end(body)
    })
  } catch (error) {
    const { code, rawMessage } = tlsError(error, 'DIAL_FAILED')
    throw new PosternError(code, `${url.host}: ${rawMessage}`, {}, { cause: error })
  }
}
