import { createHash } from 'node:crypto'
import { PosternError } from '../../base/errors.ts'
import { atPointer } from '../../base/json-pointer.ts'
import type { JwtRow } from '../../config/jwt-row.ts'
import { isLabel } from '../../identity/name.ts'
import { claimsOf, isToken, TokenVerifier } from '../../token/verify-token.ts'

type JWTPayload = Awaited<ReturnType<TokenVerifier['verify']>>

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
  readonly #verifier = new TokenVerifier()

  constructor(rows: readonly JwtRow[]) {
    this.#rows = rows
  }

  /** Other rows, from the next token on. */
  use(rows: readonly JwtRow[]): void {
    this.#rows = rows
  }

  isWorkloadToken(text: string): boolean {
    return this.#rows.length > 0 && isToken(text)
  }

  /** Its refusals differ in the text alone, which is for our log. @throws TOKEN_REFUSED */
  async judge(token: string, nowMs: number): Promise<Joined> {
    const { iss, sub } = namesOf(token)
    const named = `${iss} ${sub}`
    const rows = this.#rows.filter(({ issuer }) => issuer === iss)
    if (rows.length === 0) throw refused('no row of enroll.jwt has its issuer')
    let last = refused('it is not taken')
    for (const row of rows) {
      try {
        return joined(row, await this.#verifier.verify(row, token, nowMs), token)
      } catch (error) {
        last = refused(`${named}: ${(error as Error).message}`, error)
      }
    }
    throw last
  }
}

function namesOf(token: string): ReturnType<typeof claimsOf> {
  try {
    return claimsOf(token)
  } catch (error) {
    throw refused(error instanceof TypeError ? error.message : 'it cannot be decoded', error)
  }
}

function joined(row: JwtRow, payload: JWTPayload, token: string): Joined {
  const { cluster, issuer, subject, agentClaim } = row
  const sub = payload.sub ?? ''
  // Plain Errors: judge wraps them.
  if (!matches(subject, sub)) throw new PosternError('TOKEN_REFUSED', 'its subject is not allowed')
  const agent = agentClaim === undefined ? undefined : textAt(payload, agentClaim)
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
function textAt(payload: JWTPayload, pointer: string): string {
  const found = atPointer(payload, pointer)
  if (typeof found === 'string') return found
  throw new PosternError('TOKEN_REFUSED', `it has no claim ${pointer}`)
}

function refused(text: string, cause?: unknown): PosternError {
  return new PosternError('TOKEN_REFUSED', `workload token: ${text}`, {}, { cause })
}
