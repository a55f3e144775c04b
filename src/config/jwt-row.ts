import { rowFields } from './setting.ts'

/** One row of the setting `enroll.jwt`: who may join a cluster by a signed token of its platform. */
export interface JwtRow {
  readonly cluster: string
  /** As it stands in the token, and where its keys are found by discovery. */
  readonly issuer: string
  readonly audience: string
  /** Exact, or with `*` for a part between colons. */
  readonly subject: string
  /** JSON pointer to the claim that names the agent; undefined: a name is made. */
  readonly agentClaim: string | undefined
  /** Where the issuer's keys are, in place of discovery. */
  readonly jwksUrl: string | undefined
  readonly jwksFile: string | undefined
  /** Roots to trust for that, in PEM; undefined: those of the system. */
  readonly caFile: string | undefined
}

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const OPTIONAL = ['agentClaim', 'jwksUrl', 'jwksFile', 'caFile'] as const

/** Reads one row of `enroll.jwt`. Throws a plain Error for the loader to place. */
export function readJwtRow(row: Readonly<Record<string, unknown>>): JwtRow {
  rowFields(row, ['cluster', 'issuer', 'audience', 'subject', ...OPTIONAL])
  const { cluster, issuer, audience, subject } = row
  if (typeof cluster !== 'string' || !LABEL.test(cluster))
    throw new Error('cluster must be 1 to 63 of a-z, 0-9 and hyphens')
  for (const [name, value] of Object.entries({ issuer, audience, subject }))
    if (typeof value !== 'string' || value === '') throw new Error(`${name} must be a text`)
  const more = Object.fromEntries(OPTIONAL.map((name) => [name, row[name]]))
  for (const [name, value] of Object.entries(more))
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw new Error(`${name} must be a text`)
  const { agentClaim, jwksUrl, jwksFile } = more
  if (typeof agentClaim === 'string' && !agentClaim.startsWith('/'))
    throw new Error('agentClaim must be a JSON pointer, such as /kubernetes.io/pod/name')
  if (typeof jwksUrl === 'string' && !jwksUrl.startsWith('https://'))
    throw new Error('jwksUrl must be https://')
  if (jwksUrl !== undefined && jwksFile !== undefined)
    throw new Error('jwksUrl and jwksFile are two ways; name one')
  if (jwksUrl === undefined && jwksFile === undefined && !String(issuer).startsWith('https://'))
    throw new Error('issuer must be https:// where neither jwksUrl nor jwksFile is given')
  return { cluster, issuer, audience, subject, ...more } as JwtRow
}
