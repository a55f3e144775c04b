import { createHash } from 'node:crypto'
import { atPointer } from '../../base/json-pointer.ts'
import type { Clock } from '../../base/clock.ts'
import { RpcError } from '../../rpc/status.ts'
import type { ApiIssuerRow } from '../../config/api-issuer-row.ts'
import { claimsOf, isToken, TokenVerifier } from '../../token/verify-token.ts'
import type { KnownCaller } from '../roles/roles.ts'

const BEARER = /^Bearer +(\S+)$/i
const SUBJECT = /^[\x21-\x7e]{1,255}$/
const KEPT_MAX = 10_000
const GROUPS_MAX = 256
/** How long what was found of a token is believed: its key may have been taken out since. */
const BELIEVED_MS = 60_000

/** A caller by its token, and when that ends, in wall-clock ms. */
export interface TokenCaller {
  readonly who: KnownCaller & { readonly issuer: string }
  readonly endsAtMs: number
}

interface Kept {
  readonly found: TokenCaller
  readonly believedUntilMs: number
}

/** Knows callers by bearer tokens (RFC 6750) of the issuers that the settings name. */
export class TokenCallers {
  readonly #clock: Pick<Clock, 'wallMs'>
  readonly #verifier = new TokenVerifier()
  #rows: readonly ApiIssuerRow[]
  #generation = 0
  /** By the hash of the token, which is kept nowhere. */
  readonly #kept = new Map<string, Kept>()

  constructor(rows: readonly ApiIssuerRow[], clock: Pick<Clock, 'wallMs'>) {
    this.#rows = rows
    this.#clock = clock
  }

  /** Goes over to other issuers. */
  use(rows: readonly ApiIssuerRow[]): void {
    this.#rows = rows
    this.#generation++
    this.#kept.clear()
  }

  /** Whether tokens of an issuer are taken. */
  takes(issuer: string): boolean {
    return this.#rows.some((row) => row.issuer === issuer)
  }

  /** The caller of a token that was verified a moment ago; undefined: it must be looked at. */
  believed(authorization: string | undefined): TokenCaller | undefined {
    const [, token] = BEARER.exec(authorization ?? '') ?? []
    if (token === undefined || !isToken(token)) return undefined
    const kept = this.#kept.get(keyOf(token))
    return kept !== undefined && kept.believedUntilMs > this.#clock.wallMs()
      ? kept.found
      : undefined
  }

  /** @throws RpcError UNAUTHENTICATED, in words that say nothing of the token; UNAVAILABLE where the keys of its issuer cannot be had */
  async callerOf(authorization: string | undefined): Promise<TokenCaller> {
    const [, token] = BEARER.exec(authorization ?? '') ?? []
    if (token === undefined) throw refused('a bearer token is needed: Authorization: Bearer …')
    if (!isToken(token)) throw refused('it is no signed token')
    const nowMs = this.#clock.wallMs()
    const generation = this.#generation
    const found = await this.#verified(token, nowMs)
    // Other issuers may be taken by now.
    if (generation !== this.#generation) return await this.callerOf(authorization)
    if (this.#kept.size >= KEPT_MAX) this.#kept.clear()
    this.#kept.set(keyOf(token), {
      found,
      believedUntilMs: Math.min(found.endsAtMs, nowMs + BELIEVED_MS),
    })
    return found
  }

  async #verified(token: string, nowMs: number): Promise<TokenCaller> {
    let payload: Awaited<ReturnType<TokenVerifier['verify']>>
    let row: ApiIssuerRow | undefined
    try {
      const { iss } = claimsOf(token)
      row = this.#rows.find(({ issuer }) => issuer === iss)
      if (row === undefined) throw refused('its issuer is none of api.issuers')
      payload = await this.#verifier.verify(row, token, nowMs)
    } catch (error) {
      if (error instanceof RpcError) throw error
      const { code } = error as { code?: unknown }
      const isOfJose = typeof code === 'string' && code.startsWith('ERR_J')
      if (isOfJose) throw refused(`it is not taken (${code})`)
      if (row === undefined) throw refused('it cannot be decoded')
      throw new RpcError('UNAVAILABLE', 'the keys of the issuer of the token cannot be had now')
    }
    const { sub = '', exp = 0 } = payload
    if (!SUBJECT.test(sub)) throw refused('its subject is no short text in printable ASCII')
    const groups = groupsOf(atPointer(payload, row.groupsClaim))
    return { who: { caller: sub, issuer: row.issuer, groups }, endsAtMs: exp * 1000 }
  }
}

function keyOf(token: string): string {
  return createHash('sha256').update(token).digest('base64')
}

function groupsOf(claim: unknown): string[] {
  const list: unknown[] = Array.isArray(claim) ? claim : typeof claim === 'string' ? [claim] : []
  return list.filter((one) => typeof one === 'string').slice(0, GROUPS_MAX)
}

function refused(text: string): RpcError {
  return new RpcError('UNAUTHENTICATED', `the token: ${text}`, { code: 'TOKEN_REFUSED' })
}
