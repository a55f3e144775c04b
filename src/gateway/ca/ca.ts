export { Authorities } from './authorities.ts'
export {
  certificateOfSerial,
  listCertificates,
  type ListedCertificate,
} from './certificate-book.ts'
export { caOf, CertificateAuthority, issuerOf } from './certificate-authority.ts'
export { CaChange, type ChangePhase, type StepOptions } from './change.ts'
export { Crls } from './crls.ts'
export { initGateway } from './init.ts'
export type { Issuer } from './issuer.ts'
export { gatewayFiles, OwnIdentity } from './own-identity.ts'
export { Tokens } from './tokens.ts'
