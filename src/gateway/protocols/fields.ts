import { USER_TOKEN } from '../../contract/user.ts'
import { RpcError } from '../../rpc/status.ts'
import type { ApiExchange, HeaderFields } from '../../transport/api-exchange.ts'
import type { Metadata } from '../../wire/metadata.ts'

/** Fields of HTTP and of the protocols, which are no metadata of a call. Whom a call is for and by whom is ours to say. */
const NEVER_IN = new RegExp(
  `^(?:${[
    ...['authorization', 'cookie', 'host', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'via'],
    ...['connection', 'keep-alive', 'expect', 'user-agent', 'origin', 'referer', 'dnt', 'priority'],
    ...['traceparent', 'x-user-agent', 'x-grpc-web', 'x-real-ip', 'content-.*', 'accept.*'],
    ...[
      'proxy-.*',
      'forwarded.*',
      'x-forwarded-.*',
      'postern-.*',
      'grpc-.*',
      'connect-.*',
      'sec-.*',
    ],
    ...['access-control-.*', 'cache-control', 'pragma', 'if-.*', 'range'],
  ].join('|')})$`,
)
/** Of an answer's own metadata what would be read as a field of HTTP or of the protocol, or as an order to a browser. */
const NEVER_OUT = new RegExp(
  `^(?:${[
    ...['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-.*'],
    ...['proxy-.*', 'content-.*', 'set-cookie.*', 'grpc-(?!status-details-bin$).*', 'connect-.*'],
    ...[
      'access-control-.*',
      'alt-svc',
      'date',
      'strict-transport-.*',
      'postern-.*',
      'server',
      'via',
    ],
    ...['nel', 'report.*', 'clear-site-data', 'www-authenticate', 'location', 'refresh', 'link'],
    ...[
      'cross-origin-.*',
      'origin.*',
      'permissions-policy',
      'referrer-policy',
      'sourcemap',
      'vary',
    ],
    ...['service-worker.*', 'timing-allow-origin', 'x-frame-.*', 'x-content-.*', 'x-xss-.*', 'age'],
    ...['cache-.*', 'etag', 'expires', 'pragma', 'last-modified', 'accept-.*', 'allow', 'host'],
  ].join('|')})$`,
)
const KEY = /^[a-z0-9_.-]{1,128}$/
const VALUE = /^[\x20-\x7e]*$/

/** What of the fields of a request goes along with its call. */
export interface CallFields {
  readonly metadata: Metadata
  readonly traceparent: string
  readonly userToken: string | undefined
}

/** Takes the metadata of a call out of the fields of its request. @throws RpcError INVALID_ARGUMENT */
export function callFields({ headers }: Pick<ApiExchange, 'headers'>): CallFields {
  const dropped = (headers.connection ?? '').split(',').map((one) => one.trim().toLowerCase())
  const metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (isNeverIn(name) || dropped.includes(name)) continue
    if (!KEY.test(name) || !VALUE.test(value))
      throw new RpcError('INVALID_ARGUMENT', 'a header field holds other than printable ASCII')
    metadata[name] = value
  }
  const { traceparent = '', [USER_TOKEN]: userToken } = headers
  return { metadata, traceparent: TRACE.test(traceparent) ? traceparent : '', userToken }
}

const TRACE = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

const NAMES_MAX = 512
/** Callers use few names, each in every call. */
const judgedNames = new Map<string, boolean>()

function isNeverIn(name: string): boolean {
  const known = judgedNames.get(name)
  if (known !== undefined) return known
  const isNever = NEVER_IN.test(name)
  if (judgedNames.size < NAMES_MAX) judgedNames.set(name, isNever)
  return isNever
}

/** Makes fields of the metadata of an answer, each with `prefix` before its name. */
export function answerFields(metadata: Metadata, prefix = ''): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const [name, value] of Object.entries(metadata))
    if (!NEVER_OUT.test(name) && VALUE.test(value)) fields[`${prefix}${name}`] = value
  return fields
}

/** Reads a content type without its parameters, in lower case. */
export function contentType({ headers }: { readonly headers: HeaderFields }): string {
  return (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}
