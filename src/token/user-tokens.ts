import { createHash } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { LogLimiter } from '../base/log-limiter.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { atPointer } from '../base/json-pointer.ts'
import type { User, UserIssuer, UserVerdict, UserVerifier } from '../contract/user.ts'
import { claimsOf, isToken, TokenVerifier } from './verify-token.ts'

/** A token goes beside a call, in its metadata. */
const TOKEN_BYTES_MAX = 7000
const KEPT_MAX = 1000
/** Verified at a time, and of one caller: whoever may call may send tokens. */
const PENDING_MAX = 64
const CALLER_PENDING_MAX = 8
/** How long what was found of a token is believed: its key may have been taken out since. */
const BELIEVED_MS = 300_000
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
  readonly #log: Pick<LogLimiter, 'warn'>
  readonly #verifier = new TokenVerifier()
  /** By the hash of the token, which is kept nowhere. */
  readonly #kept = new Map<string, Kept>()
  readonly #pending = new Map<string, number>()

  constructor(clock: Pick<Clock, 'wallMs'>, log: Pick<LogLimiter, 'warn'>) {
    this.#clock = clock
    this.#log = log
  }

  verify(
    token: string,
    issuers: readonly UserIssuer[],
    pointers: readonly string[],
    caller: string,
  ): UserVerdict | Promise<UserVerdict> {
    if (token.length > TOKEN_BYTES_MAX) return { fault: 'it is too long' }
    if (!isToken(token)) return { fault: 'it is no signed token' }
    const key = createHash('sha256').update(token).digest('base64')
    const nowMs = this.#clock.wallMs()
    let by: string
    try {
      const files = issuers.map((row) => this.#verifier.marks(row, nowMs))
      by = JSON.stringify([issuers, pointers, files])
    } catch (error) {
      return { fault: this.#faultOf(error) }
    }
    const kept = this.#kept.get(key)
    if (kept?.by === by && kept.endMs > nowMs) return kept.user
    const own = this.#pending.get(caller) ?? 0
    const all = [...this.#pending.values()].reduce((sum, one) => sum + one, 0)
    if (own >= CALLER_PENDING_MAX || all >= PENDING_MAX)
      return { fault: 'too many tokens are being verified' }
    this.#pending.set(caller, own + 1)
    return this.#look(token, { key, by }, issuers, pointers).finally(() => {
      const left = (this.#pending.get(caller) ?? 1) - 1
      if (left > 0) this.#pending.set(caller, left)
      else this.#pending.delete(caller)
    })
  }

  async #look(
    token: string,
    { key, by }: { readonly key: string; readonly by: string },
    issuers: readonly UserIssuer[],
    pointers: readonly string[],
  ): Promise<UserVerdict> {
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
      const endMs = Math.min(exp * 1000, this.#clock.wallMs() + BELIEVED_MS)
      this.#kept.set(key, { user, endMs, by })
      return user
    } catch (error) {
      return { fault: this.#faultOf(error) }
    }
  }

  /** In words of ours and of jose's codes: what a token says goes into no text, nor where its issuer is asked into what a caller is told. */
  #faultOf(error: unknown): string {
    const { code } = error as { code?: unknown }
    const isOfJose = typeof code === 'string' && code.startsWith('ERR_J')
    if (isOfJose) return `it is not taken (${code})`
    if (!(error instanceof PosternError) && typeof code !== 'string') return 'it cannot be decoded'
    const found = asPosternError(error, 'TOKEN_REFUSED')
    const facts = { component: 'guard', code: found.code, reason: found.rawMessage }
    this.#log.warn(found.code, facts, 'the keys of an issuer of users cannot be had')
    return 'the keys of its issuer cannot be had for the moment'
  }
}
