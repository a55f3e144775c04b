export { type Connected, connectedBy } from './connected.ts'
export {
  type Credentials,
  credentialsOf,
  credentialsOfRow,
  Denials,
  wholeSecond,
} from './denials.ts'
export type { EventLog } from './event-log.ts'
export { Access, type AccessReport } from './gate.ts'
export { type Gatekeeper, gatekeeperOf, LETS_ALL_IN } from './gatekeeper.ts'
export { KeyedRate, NetworkRate } from './keyed-rate.ts'
export { type PeerShare, PeerShares } from './peer-shares.ts'
export { revokeWithRenewals } from './revocation.ts'
export { handshakeLimits, peerListener } from './peer-listener.ts'
