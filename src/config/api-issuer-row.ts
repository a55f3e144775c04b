import { rowFields } from './setting.ts'

/** One row of `api.issuers`: whose tokens callers may show in place of a certificate. */
export interface ApiIssuerRow {
  /** As it stands in the token, and where its keys are found by discovery. */
  readonly issuer: string
  /** That of this control plane: tokens for others are not taken. */
  readonly audience: string
  /** JSON pointer to the claim that lists groups, for roles. */
  readonly groupsClaim: string
  /** Where the issuer's keys are, in place of discovery. */
  readonly jwksUrl: string | undefined
  readonly jwksFile: string | undefined
  /** Roots to trust for that, in PEM; undefined: those of the system. */
  readonly caFile: string | undefined
}

const GROUPS = '/groups'
const OPTIONAL = ['groupsClaim', 'jwksUrl', 'jwksFile', 'caFile'] as const
const ISSUER = /^https:\/\/[\x21-\x7e]{1,247}$/

/** Reads one row of `api.issuers`. Throws a plain Error for the loader to place. */
export function readApiIssuer(row: Readonly<Record<string, unknown>>): ApiIssuerRow {
  rowFields(row, ['issuer', 'audience', ...OPTIONAL])
  const { issuer, audience, jwksUrl, jwksFile } = row
  if (typeof issuer !== 'string' || !ISSUER.test(issuer))
    throw new Error('issuer must be https:// and at most 255 characters')
  if (typeof audience !== 'string' || audience === '') throw new Error('audience must be a text')
  const more = Object.fromEntries(OPTIONAL.map((name) => [name, row[name]]))
  for (const [name, value] of Object.entries(more))
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw new Error(`${name} must be a text`)
  const { groupsClaim = GROUPS } = more
  if (typeof groupsClaim !== 'string' || !groupsClaim.startsWith('/'))
    throw new Error('groupsClaim must be a JSON pointer, such as /realm_access/roles')
  if (typeof jwksUrl === 'string' && !jwksUrl.startsWith('https://'))
    throw new Error('jwksUrl must be https://')
  if (jwksUrl !== undefined && jwksFile !== undefined)
    throw new Error('jwksUrl and jwksFile are two ways; name one')
  return { issuer, audience, ...more, groupsClaim } as ApiIssuerRow
}
