import { AssertionError } from 'node:assert'
import type { TLSSocket } from 'node:tls'
import { PosternError, type ErrorCode } from '../base/errors.ts'
import { tell } from './edge.ts'

/** What Node and OpenSSL say, in our codes. First match decides. */
const CODES: readonly (readonly [RegExp, ErrorCode, string])[] = [
  [/^ENOTFOUND$|^EAI_/, 'NAME_NOT_RESOLVED', 'the host name does not resolve'],
  [/^ECONNREFUSED$/, 'DIAL_FAILED', 'the connection was refused: nothing listens there'],
  [/^EHOSTUNREACH$|^ENETUNREACH$|^EADDRNOTAVAIL$/, 'DIAL_FAILED', 'the host cannot be reached'],
  [/^ETIMEDOUT$/, 'DIAL_TIMEOUT', 'the host did not answer'],
  [/^CERT_HAS_EXPIRED$|ALERT_CERTIFICATE_EXPIRED/, 'CERT_EXPIRED', 'the certificate has expired'],
  [
    /^CERT_NOT_YET_VALID$/,
    'CERT_NOT_YET_VALID',
    'the certificate is not valid yet: compare the clocks',
  ],
  [
    /^INVALID_PURPOSE$|UNSUPPORTED_CERTIFICATE/,
    'CERT_PURPOSE',
    'the certificate is for another purpose',
  ],
  [/ALTNAME_INVALID/, 'CERT_NAME', 'the certificate does not name the host that was dialled'],
  [
    /PEER_DID_NOT_RETURN_A_CERTIFICATE|ALERT_CERTIFICATE_REQUIRED/,
    'CERT_MISSING',
    'no client certificate was presented',
  ],
  [
    /SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|CERT_(UNTRUSTED|REJECTED|SIGNATURE_FAILURE|CHAIN_TOO_LONG)|INVALID_CA|PATH_LENGTH|ALERT_UNKNOWN_CA|PERMITTED|EXCLUDED/,
    'CERT_UNTRUSTED',
    'the certificate does not chain to a trusted CA',
  ],
  [
    /(UNSUPPORTED|UNKNOWN)_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW|WRONG_VERSION_NUMBER|NO_PROTOCOLS_AVAILABLE/,
    'TLS_VERSION',
    'the peer offers no TLS from 1.2 up',
  ],
  [
    /NO_SHARED_CIPHER|HANDSHAKE_FAILURE|NO_SUITABLE|INSUFFICIENT_SECURITY/,
    'TLS_CIPHER',
    'the peers share no acceptable cipher suite or group',
  ],
  [/NO_APPLICATION_PROTOCOL/, 'TLS_ALPN', 'the peer does not speak postern/1'],
  [/^ERR_SSL_|^EPROTO$/, 'TLS_FAILED', 'the TLS handshake failed'],
]

/** Any error of a socket as one of ours. */
export function tlsError(error: unknown, fallback: ErrorCode = 'TLS_FAILED'): PosternError {
  if (error instanceof PosternError) return error
  // What no socket says is a bug of ours, and no refusal.
  if (error instanceof TypeError || error instanceof AssertionError) return tell(error)
  const codes = codesOf(error)
  for (const [pattern, code, text] of CODES) {
    const found = codes.find((name) => pattern.test(name))
    if (found === undefined) continue
    const said = code === 'TLS_FAILED' ? `${text} (${found})` : text
    return new PosternError(code, said, { cause: found }, { cause: error })
  }
  const cause = codes[0] ?? 'unknown'
  return new PosternError(fallback, `the connection failed (${cause})`, { cause }, { cause: error })
}

/** Why a handshake failed at the end that accepts: Node hides a refused certificate behind a reset. */
export function handshakeError(error: Error, socket: TLSSocket): PosternError {
  const { authorizationError } = socket as { authorizationError?: unknown }
  if (typeof authorizationError !== 'string') return tlsError(error)
  return tlsError(Object.assign(new Error(), { code: authorizationError }))
}

/** The code of an error, of its causes and of the attempts it sums up. */
function codesOf(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 4) return []
  const { code } = error as NodeJS.ErrnoException
  const attempts = error instanceof AggregateError ? (error.errors as unknown[]) : []
  const inner = [...attempts, error.cause].flatMap((cause) => codesOf(cause, depth + 1))
  return typeof code === 'string' ? [code, ...inner] : inner
}
