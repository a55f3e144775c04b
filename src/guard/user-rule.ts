import type { User } from '../contract/user.ts'

/** What a rule demands of the user that a caller acts for. */
export interface UserRule {
  /** Undefined: any that the policy names. */
  readonly issuer: string | undefined
  /** Undefined: anybody. */
  readonly subjects: readonly string[] | undefined
  /** By JSON pointer: a claim that is one of these texts, or a list with one of them. */
  readonly claims: ReadonlyMap<string, readonly string[]>
}

/** Whether a user is one that a rule demands. */
export function isUser({ issuer, subjects, claims }: UserRule, user: User | undefined): boolean {
  if (user === undefined) return false
  if (issuer !== undefined && user.issuer !== issuer) return false
  if (subjects?.includes(user.subject) === false) return false
  return [...claims].every(([pointer, wanted]) => {
    const found = user.claims.get(pointer)
    const values: readonly unknown[] = Array.isArray(found) ? found : [found]
    return values.some((value) => typeof value === 'string' && wanted.includes(value))
  })
}

/** The JSON pointers of the claims that rules speak of. */
export function claimPointers(
  rules: readonly { readonly user: UserRule | undefined }[],
): readonly string[] {
  return [...new Set(rules.flatMap(({ user }) => [...(user?.claims.keys() ?? [])]))].sort()
}
