import type { Clock } from '../../base/clock.ts'
import type { UserIssuer, UserVerdict, UserVerifier } from '../../contract/user.ts'

/** Verifies tokens of users by what is read when the first one comes, so that an agent that is asked for none holds none of it. */
export class LateUserTokens implements UserVerifier {
  readonly #clock: Clock
  #loading: Promise<UserVerifier> | undefined
  #loaded: UserVerifier | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  verify(
    token: string,
    issuers: readonly UserIssuer[],
    pointers: readonly string[],
  ): UserVerdict | Promise<UserVerdict> {
    if (this.#loaded !== undefined) return this.#loaded.verify(token, issuers, pointers)
    return this.#load().then((users) => users.verify(token, issuers, pointers))
  }

  #load(): Promise<UserVerifier> {
    return (this.#loading ??= import('../../token/user-tokens.ts').then(({ UserTokens }) => {
      this.#loaded = new UserTokens(this.#clock)
      return this.#loaded
    }))
  }
}
