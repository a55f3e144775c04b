import { PosternError, printable } from '../../base/errors.ts'
import { isMethodPattern } from '../../guard/pattern.ts'
import { isLabel } from '../../identity/name.ts'
import type { Role, RoleMember } from './role.ts'

const ENTRIES_MAX = 256
const STARTS = /^(?:[a-z0-9][a-z0-9-]{0,62}\*?|\*)$/
const SUBJECT = /^(?:[\x21-\x29\x2b-\x7e]{1,255}\*?|\*)$/
const GROUP = /^[\x20-\x7e]{1,255}$/
const ISSUER = /^https:\/\/[\x21-\x7e]{1,247}$/

/** Judges a role before it is kept. @throws USAGE */
export function judgeRole(role: Role): void {
  const { name, members, clusters, methods, services } = role
  if (!isLabel(name)) throw usage('a role is named by 1 to 63 of a-z, 0-9 and inner hyphens')
  if (members.length === 0)
    throw usage('a role needs callers, or an issuer with subjects or groups')
  if (clusters.length === 0) throw usage('a role needs clusters')
  if (methods.length + services.length === 0) throw usage('a role needs methods or services')
  if ([members, clusters, methods, services].some(({ length }) => length > ENTRIES_MAX))
    throw usage(`a role has at most ${String(ENTRIES_MAX)} of each`)
  for (const member of members) judgeMember(member)
  const judge = (list: readonly string[], isGood: (one: string) => boolean, what: string): void => {
    const bad = list.find((one) => !isGood(one))
    if (bad !== undefined) throw usage(`${printable(JSON.stringify(bad))} is ${what}`)
  }
  judge(
    clusters,
    (one) => STARTS.test(one),
    'no name of a cluster, nor the beginning of one with *',
  )
  judge(methods, isMethodPattern, 'no package.Service/Method, package.Service/* or *')
  judge(services, (one) => one === '*' || isLabel(one), 'no name of a service, nor *')
}

function judgeMember(member: RoleMember): void {
  const [text, isGood, what] =
    'name' in member
      ? [
          member.name,
          STARTS.test(member.name),
          'no name of a caller, nor the beginning of one with *',
        ]
      : 'group' in member
        ? [member.group, GROUP.test(member.group), 'no name of a group']
        : [
            member.subject,
            SUBJECT.test(member.subject),
            'no subject, nor the beginning of one with *',
          ]
  if (!isGood) throw usage(`${printable(JSON.stringify(text))} is ${what}`)
  if ('issuer' in member && !ISSUER.test(member.issuer))
    throw usage(`${printable(JSON.stringify(member.issuer))} is no issuer of tokens: https://…`)
}

function usage(text: string): PosternError {
  return new PosternError('USAGE', text)
}
