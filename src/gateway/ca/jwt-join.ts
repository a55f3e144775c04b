import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  jwtVerify,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
} from 'jose'
import { PosternError } from '../../base/errors.ts'
import type { JwtRow } from '../../config/jwt-row.ts'
import { isLabel } from '../../identity/name.ts'
import { getHttps } from '../../transport/https-get.ts'

const JWT = /^[\w-]{2,}\.[\w-]{2,}\.[\w-]+$/
const BYTES_MAX = 16 * 1024
/** Signatures by a key pair; a shared secret would let every verifier mint tokens. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA']
const CLOCK_TOLERANCE_S = 30

/** What a workload's token lets in. */
export interface Joined {
  readonly cluster: string
  /** Undefined: a name is made. */
  readonly agent: string | undefined
  /** Names the token without holding it. */
  readonly name: string
  /** Issuer and subject. */
  readonly actor: string
  /** When it was issued, in ms. */
  readonly madeAtMs: number
}

/**
 * Joining by the identity that a platform gives its workloads: a signed token (RFC 7519) such as a
 * Kubernetes projected service-account token. Who may join what is said by rows of `enroll.jwt`.
 */
export class JwtJoin {
  #rows: readonly JwtRow[]
  readonly #keys = new Map<JwtRow, Promise<JWTVerifyGetKey>>()

  constructor(rows: readonly JwtRow[]) {
    this.#rows = rows
  }

  /** Other rows, from the next token on. */
  use(rows: readonly JwtRow[]): void {
    this.#rows = rows
  }

  isWorkloadToken(text: string): boolean {
    return this.#rows.length > 0 && text.length <= BYTES_MAX && JWT.test(text)
  }

  /** Its refusals differ in the text alone, which is for our log. @throws TOKEN_REFUSED */
  async judge(token: string, nowMs: number): Promise<Joined> {
    const { iss, sub } = claimsOf(token)
    const named = `${String(iss)} ${String(sub)}`
    const rows = this.#rows.filter(({ issuer }) => issuer === iss)
    if (rows.length === 0) throw refused('no row of enroll.jwt has its issuer')
    let last = refused('it is not taken')
    for (const row of rows) {
      try {
        return joined(row, await this.#verify(row, token, nowMs), token)
      } catch (error) {
        last = refused(`${named}: ${(error as Error).message}`, error)
      }
    }
    throw last
  }

  async #verify(row: JwtRow, token: string, nowMs: number): Promise<JWTPayload> {
    const { payload } = await jwtVerify(token, await this.#keysOf(row), {
      issuer: row.issuer,
      audience: row.audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp', 'iat', 'sub'],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(nowMs),
    })
    return payload
  }

  async #keysOf(row: JwtRow): Promise<JWTVerifyGetKey> {
    const known = this.#keys.get(row)
    if (known !== undefined) return await known
    const found = findKeys(row)
    this.#keys.set(row, found)
    // Whoever could not be reached is asked again.
    found.catch(() => this.#keys.delete(row))
    return await found
  }
}

function claimsOf(token: string): JWTPayload {
  try {
    const claims = decodeJwt(token)
    const { iss, sub } = claims as Record<string, unknown>
    if (typeof iss === 'string' && typeof sub === 'string') return claims
  } catch (error) {
    throw refused('it cannot be decoded', error)
  }
  throw refused('its issuer and subject are no texts')
}

function joined(row: JwtRow, payload: JWTPayload, token: string): Joined {
  const { cluster, issuer, subject, agentClaim } = row
  const sub = payload.sub ?? ''
  // Plain Errors: judge wraps them.
  if (!matches(subject, sub)) throw new PosternError('TOKEN_REFUSED', 'its subject is not allowed')
  const agent = agentClaim === undefined ? undefined : claimAt(payload, agentClaim)
  if (agent !== undefined && !isLabel(agent))
    throw new PosternError('TOKEN_REFUSED', `its claim ${agentClaim ?? ''} is no name of an agent`)
  const digest = createHash('sha256').update(token).digest('hex').slice(0, 40)
  const actor = `${issuer} ${sub}`.slice(0, 256)
  return { cluster, agent, name: `jwt:${digest}`, actor, madeAtMs: (payload.iat ?? 0) * 1000 }
}

/** `*` stands for any run of characters but the colon, which separates the parts of a subject. */
function matches(pattern: string, subject: string): boolean {
  const source = pattern
    .split('*')
    .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
    .join('[^:]+')
  return new RegExp(`^${source}$`).test(subject)
}

/** A text claim by JSON pointer (RFC 6901). */
function claimAt(payload: JWTPayload, pointer: string): string {
  const found = pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>(
      (value, part) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, part)
          ? (value as Record<string, unknown>)[part]
          : undefined,
      payload,
    )
  if (typeof found === 'string') return found
  throw new PosternError('TOKEN_REFUSED', `it has no claim ${pointer}`)
}

async function findKeys(row: JwtRow): Promise<JWTVerifyGetKey> {
  if (row.jwksFile !== undefined)
    return createLocalJWKSet(JSON.parse(readFileSync(row.jwksFile, 'utf8')) as JSONWebKeySet)
  const caPem = row.caFile === undefined ? undefined : readFileSync(row.caFile, 'utf8')
  const url = row.jwksUrl ?? (await discovered(row.issuer, caPem))
  return createRemoteJWKSet(new URL(url), {
    [customFetch]: async (address: string) => {
      const { status, body } = await getHttps(new URL(address), caPem)
      return new Response(body, { status, headers: { 'content-type': 'application/json' } })
    },
  })
}

/** Where an issuer keeps its keys (OpenID Connect Discovery 1.0, section 4). */
async function discovered(issuer: string, caPem: string | undefined): Promise<string> {
  const base = issuer.endsWith('/') ? issuer : `${issuer}/`
  const { status, body } = await getHttps(new URL('.well-known/openid-configuration', base), caPem)
  const document = status === 200 ? (JSON.parse(body) as Record<string, unknown>) : {}
  const { issuer: named, jwks_uri: keys } = document
  if (named === issuer && typeof keys === 'string' && keys.startsWith('https://')) return keys
  throw new PosternError('TOKEN_REFUSED', 'its issuer cannot be asked for its keys')
}

function refused(text: string, cause?: unknown): PosternError {
  return new PosternError('TOKEN_REFUSED', `workload token: ${text}`, {}, { cause })
}
