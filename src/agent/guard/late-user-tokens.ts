import type { Clock } from '../../base/clock.ts'
import { LogLimiter } from '../../base/log-limiter.ts'
import type { Logger } from '../../base/logger.ts'
import type { UserIssuer, UserVerdict, UserVerifier } from '../../contract/user.ts'

/** Verifies tokens of users by what is read when the first one comes, so that an agent that is asked for none holds none of it. */
export class LateUserTokens implements UserVerifier {
  readonly #clock: Clock
  readonly #log: LogLimiter
  #loading: Promise<UserVerifier> | undefined
  #loaded: UserVerifier | undefined

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#log = new LogLimiter(logger, clock)
  }

  verify(
    token: string,
    issuers: readonly UserIssuer[],
    pointers: readonly string[],
    caller: string,
  ): UserVerdict | Promise<UserVerdict> {
    if (this.#loaded !== undefined) return this.#loaded.verify(token, issuers, pointers, caller)
    return this.#load().then((users) => users.verify(token, issuers, pointers, caller))
  }

  #load(): Promise<UserVerifier> {
    return (this.#loading ??= import('../../token/user-tokens.ts').then(({ UserTokens }) => {
      this.#loaded = new UserTokens(this.#clock, this.#log)
      return this.#loaded
    }))
  }
}
