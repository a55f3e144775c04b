export { Authorities } from './authorities.ts'
export {
  certificateOfSerial,
  type IssuedReport,
  listCertificates,
  type ListedCertificate,
  reportIssued,
} from './certificate-book.ts'
export { caOf, type CaReport, CertificateAuthority, issuerOf } from './certificate-authority.ts'
export { CaChange, type ChangePhase, type StepOptions } from './change.ts'
export { Crls } from './crls.ts'
export { initGateway } from './init.ts'
export type { Issuer } from './issuer.ts'
export { gatewayFiles, OwnIdentity, type OwnReport } from './own-identity.ts'
export { Tokens } from './tokens.ts'
