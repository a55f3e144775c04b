import { createHash } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { atPointer } from '../base/json-pointer.ts'
import type { User, UserIssuer, UserVerdict, UserVerifier } from '../contract/user.ts'
import { claimsOf, isToken, TokenVerifier } from './verify-token.ts'

/** A token goes beside a call, in its metadata. */
const TOKEN_BYTES_MAX = 7000
const KEPT_MAX = 1000
/** Verified at a time: whoever may call may send tokens. */
const PENDING_MAX = 64
const SUBJECT_MAX = 255
// eslint-disable-next-line no-control-regex -- control characters are what this refuses
const PLAIN = /^[^\u0000-\u001f\u007f-\u009f]+$/

interface Kept {
  readonly user: User
  readonly endMs: number
  /** What it was verified by. */
  readonly by: string
}

/** Verifies the tokens of users (OpenID Connect Core 1.0, section 3.1.3.7), and remembers those that it has seen until they end. */
export class UserTokens implements UserVerifier {
  readonly #clock: Pick<Clock, 'wallMs'>
  readonly #verifier = new TokenVerifier()
  /** By the hash of the token, which is kept nowhere. */
  readonly #kept = new Map<string, Kept>()
  #pending = 0

  constructor(clock: Pick<Clock, 'wallMs'>) {
    this.#clock = clock
  }

  verify(
    token: string,
    issuers: readonly UserIssuer[],
    pointers: readonly string[],
  ): UserVerdict | Promise<UserVerdict> {
    if (token.length > TOKEN_BYTES_MAX) return { fault: 'it is too long' }
    if (!isToken(token)) return { fault: 'it is no signed token' }
    const key = createHash('sha256').update(token).digest('base64')
    const by = JSON.stringify([issuers, pointers])
    const kept = this.#kept.get(key)
    const nowMs = this.#clock.wallMs()
    if (kept?.by === by && kept.endMs > nowMs) return kept.user
    if (this.#pending >= PENDING_MAX) return { fault: 'too many tokens are being verified' }
    return this.#look(token, { key, by }, issuers, pointers)
  }

  async #look(
    token: string,
    { key, by }: { readonly key: string; readonly by: string },
    issuers: readonly UserIssuer[],
    pointers: readonly string[],
  ): Promise<UserVerdict> {
    this.#pending++
    try {
      const { iss } = claimsOf(token)
      const row = issuers.find(({ issuer }) => issuer === iss)
      if (row === undefined) return { fault: 'its issuer is none of those that the policy names' }
      const payload = await this.#verifier.verify(row, token, this.#clock.wallMs())
      const { sub = '', exp = 0 } = payload
      if (sub.length > SUBJECT_MAX || !PLAIN.test(sub))
        return { fault: 'its subject is no short plain text' }
      const claims = new Map(pointers.map((pointer) => [pointer, atPointer(payload, pointer)]))
      const user = { issuer: row.issuer, subject: sub, claims }
      if (this.#kept.size >= KEPT_MAX) this.#kept.clear()
      this.#kept.set(key, { user, endMs: exp * 1000, by })
      return user
    } catch (error) {
      return { fault: faultOf(error) }
    } finally {
      this.#pending--
    }
  }
}

/** In words of ours and of jose's codes: what a token says goes into no text. */
function faultOf(error: unknown): string {
  if (error instanceof PosternError) return asPosternError(error).rawMessage
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? `it is not taken (${code})` : 'it cannot be decoded'
}
