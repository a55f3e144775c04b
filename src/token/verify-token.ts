import { decodeJwt, jwtVerify, type JWTPayload } from 'jose'
import { IssuerKeys, type Issuer } from './issuer-keys.ts'

const JWT = /^[\w-]{2,}\.[\w-]{2,}\.[\w-]+$/
const BYTES_MAX = 16 * 1024
/** Signatures by a key pair; a shared secret would let every verifier mint tokens. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA']
const CLOCK_TOLERANCE_S = 30

/** Whether a text has the form of a signed token (RFC 7519), and is not too long to look at. */
export function isToken(text: string): boolean {
  return text.length <= BYTES_MAX && JWT.test(text)
}

/** What a token says, unproven. Throws a plain Error where it cannot be decoded, or its issuer and subject are no texts. */
export function claimsOf(token: string): JWTPayload & { iss: string; sub: string } {
  const claims = decodeJwt(token)
  const { iss, sub } = claims as Record<string, unknown>
  if (typeof iss === 'string' && typeof sub === 'string') return { ...claims, iss, sub }
  throw new TypeError('its issuer and subject are no texts')
}

/** Verifies tokens of issuers, whose keys it keeps. */
export class TokenVerifier {
  readonly #keys = new Map<string, IssuerKeys>()

  /** Returns what a token says. Throws a plain Error for one that is not of the issuer, for the audience and of this time. */
  async verify(row: Issuer, token: string, nowMs: number): Promise<JWTPayload> {
    const { payload } = await jwtVerify(token, await this.#keysOf(row).get(nowMs), {
      issuer: row.issuer,
      audience: row.audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp', 'iat', 'sub'],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(nowMs),
    })
    return payload
  }

  /** What tells one state of the keys of an issuer from another, as far as they lie in a file. @throws what looking at it throws */
  marks(row: Issuer, nowMs: number): string {
    return this.#keysOf(row).marks(nowMs)
  }

  #keysOf(row: Issuer): IssuerKeys {
    const name = JSON.stringify([row.issuer, row.jwksUrl, row.jwksFile, row.caFile])
    const found = this.#keys.get(name) ?? new IssuerKeys(row)
    this.#keys.set(name, found)
    return found
  }
}
