import { matchesMethod, matchesService } from '../../guard/pattern.ts'

/** Who calls, as a listener of the gateway has judged them. */
export interface KnownCaller {
  /** Name in the certificate, or subject of the token; empty: the gateway itself. */
  readonly caller: string
  /** URI name in its certificate: the same caller by another way has the same share of everything. */
  readonly uri?: string
  /** In its certificate; default: none. */
  readonly region?: string | undefined
  /** Who signed its token; default: it has shown a certificate. */
  readonly issuer?: string | undefined
  /** Of its token. Default: none. */
  readonly groups?: readonly string[]
}

/** Whom a role is for: certificates by name, or tokens of one issuer by subject or group. */
export type RoleMember =
  /** A name, the beginning of one with `*`, or `*`. */
  | { readonly name: string }
  | { readonly issuer: string; readonly subject: string }
  | { readonly issuer: string; readonly group: string }

/** What some callers may use: what no role allows is refused to whoever needs one. */
export interface Role {
  readonly name: string
  readonly members: readonly RoleMember[]
  /** Names, beginnings of names with `*`, or `*`. */
  readonly clusters: readonly string[]
  /** `package.Service/Method`, `package.Service/*` or `*`, which takes in sealed sessions. */
  readonly methods: readonly string[]
  /** Names of services to forward to, or `*`. */
  readonly services: readonly string[]
}

/** What a caller wants to use. */
export interface Use {
  readonly cluster: string
  readonly kind: 'method' | 'service' | 'sealed'
  readonly name: string
}

/** Whether a caller is one of those that a role is for. */
export function isMember({ members }: Pick<Role, 'members'>, who: KnownCaller): boolean {
  return members.some((member) => {
    if ('name' in member) return who.issuer === undefined && matchesStart(member.name, who.caller)
    if (member.issuer !== who.issuer) return false
    return 'group' in member
      ? who.groups?.includes(member.group) === true
      : matchesStart(member.subject, who.caller)
  })
}

/** Whether a role says anything of a cluster. */
export function hasCluster({ clusters }: Pick<Role, 'clusters'>, cluster: string): boolean {
  return clusters.some((pattern) => matchesStart(pattern, cluster))
}

/** Whether a role allows a use to its members. */
export function allowsUse(role: Role, use: Use): boolean {
  if (!hasCluster(role, use.cluster)) return false
  switch (use.kind) {
    case 'method':
      return role.methods.some((pattern) => matchesMethod(pattern, use.name))
    case 'service':
      return role.services.some((pattern) => matchesService(pattern, use.name))
    case 'sealed':
      // Nobody on the way sees what is called in it.
      return role.methods.includes('*')
  }
}

function matchesStart(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}
