import type { Node } from 'yaml'
import type { UserIssuer } from '../contract/user.ts'
import type { UserRule } from '../guard/user-rule.ts'
import type { YamlCursor } from './yaml-cursor.ts'

const ISSUER_KEYS = ['issuer', 'audience', 'jwksUrl', 'jwksFile', 'caFile']

/** Whose tokens are taken, and on which calls. */
export interface UsersSection {
  readonly userIssuers: readonly UserIssuer[]
  /** Whether tokens are taken on sealed calls alone. */
  readonly usersSealed: boolean
}

/** Reads `users: { issuers: [...], sealed: required }`. */
export function readUsers(at: YamlCursor, node: Node | undefined): UsersSection {
  const fields = node && at.map(node, 'users', ['issuers', 'sealed'])
  const sealed = at.word(fields?.get('sealed'), 'sealed', ['required', 'optional'])
  const issuers = at.list(fields?.get('issuers'), 'issuers')
  if (fields !== undefined && issuers.length === 0) at.fault(node, 'users names no issuers')
  return {
    userIssuers: issuers.flatMap((one) => readIssuer(at, one) ?? []),
    usersSealed: sealed !== 'optional',
  }
}

function readIssuer(at: YamlCursor, node: Node): UserIssuer | undefined {
  const fields = at.map(node, 'an issuer', ISSUER_KEYS)
  if (fields === undefined) return undefined
  const text = (key: string): string | undefined => at.text(fields.get(key), key)
  const [issuer, audience] = [text('issuer'), text('audience')]
  const found = { jwksUrl: text('jwksUrl'), jwksFile: text('jwksFile'), caFile: text('caFile') }
  const { jwksUrl, jwksFile } = found
  if (jwksUrl?.startsWith('https://') === false)
    at.fault(fields.get('jwksUrl'), 'jwksUrl must be https://')
  if (jwksUrl !== undefined && jwksFile !== undefined)
    at.fault(node, 'jwksUrl and jwksFile are two ways; name one')
  const isFound = jwksUrl !== undefined || jwksFile !== undefined
  if (issuer?.startsWith('https://') === false && !isFound)
    at.fault(node, 'issuer must be https:// where neither jwksUrl nor jwksFile is given')
  if (issuer === undefined || audience === undefined) {
    at.fault(node, 'an issuer needs issuer and audience, which names this cluster')
    return undefined
  }
  return { issuer, audience, ...found }
}

/** Reads `user: required` or `user: { issuer, subjects, claims }` of a rule. */
export function readUserRule(at: YamlCursor, node: Node | undefined): UserRule | undefined {
  if (node === undefined) return undefined
  if (String(node) === 'required')
    return { issuer: undefined, subjects: undefined, claims: new Map() }
  const fields = at.map(node, 'user, where it is not "required",', ['issuer', 'subjects', 'claims'])
  const subjects = fields?.get('subjects')
  const claims = fields?.get('claims')
  return {
    issuer: at.text(fields?.get('issuer'), 'issuer'),
    subjects:
      subjects === undefined ? undefined : at.texts(subjects, 'subjects').map(({ value }) => value),
    claims: new Map(
      claims === undefined ? [] : at.entries(claims, 'claims').map((pair) => readClaim(at, pair)),
    ),
  }
}

function readClaim(
  at: YamlCursor,
  [key, value]: readonly [Node, Node],
): readonly [string, readonly string[]] {
  const name = at.text(key, 'the name of a claim') ?? ''
  const pointer = name.startsWith('/')
    ? name
    : `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
  const isList = 'items' in value
  const values = isList
    ? at.texts(value, 'values').map((one) => one.value)
    : [at.text(value, 'the value of a claim') ?? '']
  return [pointer, values]
}

/** Says of each rule that demands a user whether any issuer can name one. */
export function judgeUsers(
  at: YamlCursor,
  node: Node | undefined,
  rules: readonly { readonly name: string; readonly user: UserRule | undefined }[],
  { userIssuers }: UsersSection,
): void {
  for (const { name, user } of rules) {
    if (user === undefined) continue
    const isNamed = userIssuers.some(
      ({ issuer }) => user.issuer === undefined || issuer === user.issuer,
    )
    if (!isNamed)
      at.fault(
        node,
        `rule ${JSON.stringify(name)} demands a user of ${user.issuer ?? 'some issuer'}, which users.issuers does not name`,
      )
  }
}
