import { RoleAuthority, RoleBook, type KnownCaller, type Role } from '../roles/roles.ts'
import { KIND } from '../../wire/open-head.ts'
import type { Operator, StoreTools } from './store-tools.ts'

/** A use that a role may allow: of a method, or of a service that is forwarded to. */
export interface RoleUse {
  readonly cluster: string
  readonly method?: string | undefined
  readonly service?: string | undefined
}

/** What becomes of a use, and by which role. */
export interface RoleAnswer {
  readonly isAllowed: boolean
  /** Undefined: none speaks for it; callers with certificates may need none. */
  readonly role: string | undefined
  /** What the caller is told where it is refused. */
  readonly text: string | undefined
}

/** Lists all roles. */
export async function listRoles({ records }: StoreTools): Promise<readonly Role[]> {
  return (await bookOf(records)).roles
}

/** Keeps a role. `mayReplace`: one of that name gives way. @throws USAGE, STATE_EXISTS */
export async function grantRole(
  { records }: StoreTools,
  role: Role,
  mayReplace: boolean,
  operator: Operator,
): Promise<void> {
  await new RoleBook(records).grant(role, mayReplace, operator)
}

/** Takes a role away. @throws NOT_KNOWN */
export async function revokeRole(
  { records }: StoreTools,
  name: string,
  operator: Operator,
): Promise<void> {
  await new RoleBook(records).revoke(name, operator)
}

/** Says what would become of a use, as the gateway would decide. */
export async function testRole(
  { records, settings }: StoreTools,
  who: KnownCaller,
  { cluster, method, service = '' }: RoleUse,
): Promise<RoleAnswer> {
  const book = await bookOf(records)
  const isMethod = method !== undefined
  const name = method ?? service
  const authority = new RoleAuthority(book, settings['callers.roles'])
  const kind = isMethod ? KIND.unary : KIND.forward
  const denial = authority.denialOf(who, { cluster, name, kind })
  const role = book.roleFor(who, { cluster, name, kind: isMethod ? 'method' : 'service' })
  const text = denial && `${denial.code}: ${denial.text}`
  return { isAllowed: denial === undefined, role: role?.name, text }
}

async function bookOf(records: StoreTools['records']): Promise<RoleBook> {
  const book = new RoleBook(records)
  await book.refresh()
  return book
}
