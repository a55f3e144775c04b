import { request as requestPlain, type ClientRequest } from 'node:http'
import { request as requestTls } from 'node:https'
import { rotatedLookup } from './rotated-lookup.ts'
import { TLS_OPTIONS, trustIn } from './tls-options.ts'

/** Of the names of those the first address is tried first: there are none to spread. */
const LOOKUP = rotatedLookup({ fraction: () => 0 })

/** The head of a request to what lies behind the agent. */
export interface BackendRequest {
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
}

/** Begins a request, over verified TLS; its body is the caller's to send. @throws CERTIFICATE_UNUSABLE */
export function startRequest(call: BackendRequest, signal: AbortSignal): ClientRequest {
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
