export { CaOperations, type CaStatus } from './ca-change.ts'
export {
  certificateRecords,
  type CertificateRecord,
  issueCaller,
  judgeCaller,
  revoke,
  type Revoked,
} from './certificates.ts'
export { lockCluster, unlockCluster } from './clusters.ts'
export { eventsAfter, lastEvents, type EventFilter, type EventRow } from './events.ts'
export {
  grantRole,
  listRoles,
  revokeRole,
  testRole,
  type RoleAnswer,
  type RoleUse,
} from './roles.ts'
export type { Role, RoleMember } from '../roles/roles.ts'
export { type Operator, type StoreTools, withStoreTools } from './store-tools.ts'
export { createToken, listTokens, revokeToken, type TokenRequest } from './tokens.ts'
