/** Name of the metadata in which a caller hands on the token of the user that it acts for. No handler sees it. */
export const USER_TOKEN = 'postern-user-token'

/** Who signs the tokens of users, as the customer's policy says. */
export interface UserIssuer {
  readonly issuer: string
  readonly audience: string
  readonly jwksUrl: string | undefined
  readonly jwksFile: string | undefined
  readonly caFile: string | undefined
}

/** A user, as a verified token names them: nothing of the token but what the policy asks for. */
export interface User {
  readonly issuer: string
  readonly subject: string
  /** Those claims that some rule speaks of, by their JSON pointers. */
  readonly claims: ReadonlyMap<string, unknown>
}

/** What became of a user's token: who they are, or what is wrong with it. */
export type UserVerdict = User | { readonly fault: string }

/** Verifies tokens of users. At once for those that it has seen. */
export interface UserVerifier {
  verify(
    token: string,
    issuers: readonly UserIssuer[],
    pointers: readonly string[],
    /** Who hands it on: each has a share of what is verified at a time. */
    caller: string,
  ): UserVerdict | Promise<UserVerdict>
}
