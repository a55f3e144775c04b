import type { ChangesReport } from '../changes/changes.ts'
import type { CredentialReport } from '../credential/credential.ts'
import type { EventsReport } from '../../dataplane/events/events.ts'
import type { GuardReport } from '../guard/guard.ts'
import type { AgentEvent, Verdict } from '../health/health.ts'
import type { NoticesReport } from '../notices/notices.ts'
import type { SealReport } from '../seal/seal.ts'
import type { ServicesReport } from '../services/services.ts'
import type { TunnelsReport } from '../tunnels/tunnels.ts'

/** What the rooms of an agent say of themselves at one moment: plain data, which status, metrics and the support file show. */
export interface AgentReport {
  /** In wall-clock ms. */
  readonly startedAtMs: number
  readonly buffers: { readonly reservedBytes: number; readonly bytesMax: number }
  readonly health: Verdict
  readonly credential: CredentialReport
  readonly changes: ChangesReport
  readonly guard: GuardReport
  readonly services: ServicesReport
  readonly seal: SealReport
  readonly tunnels: TunnelsReport
  readonly notices: NoticesReport
  /** Events of runs, as workloads tell them; undefined: none are taken. */
  readonly runs?: EventsReport | undefined
  /** Oldest first. */
  readonly events: readonly AgentEvent[]
}
