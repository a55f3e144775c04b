import type { ApiExchange } from '../../transport/api-exchange.ts'

const PREFLIGHT_SECONDS = '7200'
/** Fields of answers that pages may read (github.com/grpc/grpc-web, "CORS support"). */
const EXPOSED =
  'grpc-status,grpc-message,grpc-status-details-bin,grpc-encoding,grpc-accept-encoding'
/** A list of names of fields, as browsers ask for it. */
const NAMES = /^[a-z0-9-]+(?:, ?[a-z0-9-]+){0,63}$/i

/** Answers a browser that asks whether a page may call (Fetch, "CORS-preflight request"); false for anything else. */
export function preflight(exchange: ApiExchange, origins: readonly string[]): boolean {
  if (exchange.method !== 'OPTIONS') return false
  const { origin = '', 'access-control-request-headers': names = '' } = exchange.headers
  const isAllowed = isOrigin(origin, origins)
  const allowed = {
    'access-control-allow-origin': origin,
    'access-control-allow-methods': 'POST',
    'access-control-max-age': PREFLIGHT_SECONDS,
    ...(NAMES.test(names) ? { 'access-control-allow-headers': names } : {}),
    vary: 'Origin',
  }
  exchange.answer(isAllowed ? 204 : 403, isAllowed ? allowed : {}, Buffer.alloc(0))
  return true
}

/** Lets a page of an allowed origin read the answer. */
export function allowOrigin(exchange: ApiExchange, origins: readonly string[]): void {
  const { origin = '' } = exchange.headers
  if (!isOrigin(origin, origins)) return
  exchange.always = {
    'access-control-allow-origin': origin,
    'access-control-expose-headers': EXPOSED,
    vary: 'Origin',
  }
}

function isOrigin(origin: string, origins: readonly string[]): boolean {
  return origin !== '' && origins.includes(origin)
}
