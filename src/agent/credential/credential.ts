export {
  enrolledFiles,
  identityKeyFile,
  type IdentitySettings,
  isManaged,
  namedFiles,
} from './files.ts'
export { GatewayCrls } from './gateway-crls.ts'
export { decoded, invalidAnswer, judgeIssued } from './judge-issued.ts'
export {
  type AgentCredential,
  type AgentIdentity,
  type CredentialReport,
  CredentialStore,
  type InForce,
} from './store.ts'
