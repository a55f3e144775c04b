import type { ApiReport } from '../api/api.ts'
import type { FrontReport } from '../agents/agents.ts'
import type { AccessReport } from '../access/access.ts'
import type { CaReport, IssuedReport, OwnReport } from '../ca/ca.ts'
import type { CallersReport } from '../callers/callers.ts'
import type { ClustersReport } from '../clusters/clusters.ts'

/** What the rooms of a gateway say of themselves at one moment: plain data, which status and metrics show. */
export interface GatewayReport {
  readonly isDraining: boolean
  /** Each gateway of this control plane has a store of its own. */
  readonly hasOwnStoreAmongPeers: boolean
  readonly buffers: { readonly reservedBytes: number; readonly bytesMax: number }
  readonly own: OwnReport
  readonly clusters: ClustersReport
  readonly callers: CallersReport
  /** Of callers in any language. */
  readonly api: ApiReport
  /** Hosts at Cloudflare that this gateway dials. */
  readonly fronts: readonly FrontReport[]
  /** Agents that were told to come back later. */
  readonly deferred: number
  /** Undefined: it has no store. */
  readonly access: AccessReport | undefined
  /** Undefined: it has no CA. */
  readonly ca: CaReport | undefined
  /** How requests to the enrolment listeners ended. */
  readonly enrolment: ReadonlyMap<string, number>
}

/** A running gateway, as far as an operator's orders reach. */
export interface GatewayRooms {
  /** What all rooms say of themselves. It changes nothing. */
  report(): GatewayReport
  /** What the store says of certificates; undefined: there is none. */
  reportIssued(nowMs: number): Promise<IssuedReport | undefined>
  /** Who is connected, and by whose certificate. */
  readonly connected: readonly { readonly identity: string; readonly issuer: string }[]
}
