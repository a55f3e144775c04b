import type { GatewaySettings } from '../../config/gateway-settings.ts'
import type { ProcessParts } from '../../tunnel/rpc-connection.ts'
import type { Access, Connected } from '../access/access.ts'
import type { Admission } from '../agents/agents.ts'
import type { CertificateAuthority, OwnIdentity } from '../ca/ca.ts'
import type { CallerSide } from '../callers/callers.ts'
import type { Registry } from '../clusters/clusters.ts'
import type { Enrolment } from '../enrolment/enrolment.ts'

/** The rooms of a running gateway, for what reports on all of them. */
export interface GatewayRooms {
  readonly settings: GatewaySettings
  readonly isDraining: boolean
  readonly parts: ProcessParts
  readonly own: OwnIdentity
  readonly access: Access | undefined
  readonly ca: CertificateAuthority | undefined
  readonly enrolment: Enrolment | undefined
  readonly registry: Registry
  readonly admission: Admission
  readonly callers: CallerSide
  /** Who is connected, and by whose certificate. */
  readonly connected: Connected[]
}
