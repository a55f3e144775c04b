export { type Asked, RoleAuthority, type RoleDenial, unknownCluster } from './authority.ts'
export { RoleBook } from './role-book.ts'
export type { KnownCaller, Role, RoleMember } from './role.ts'
