import type { AgentSettings } from '../../config/agent-settings.ts'
import type { CredentialChanges } from '../changes/changes.ts'
import type { CredentialStore } from '../credential/credential.ts'
import type { AgentGuard } from '../guard/guard.ts'
import type { Timeline } from '../health/health.ts'
import type { LateProver } from '../prove/prove.ts'
import type { Tunnels } from '../tunnels/tunnels.ts'
import type { AgentReport } from './report.ts'

/** A running agent, as far as an operator's orders reach. */
export interface AgentRooms {
  readonly settings: AgentSettings
  readonly timeline: Timeline
  readonly store: CredentialStore
  readonly guard: AgentGuard
  readonly changes: CredentialChanges
  readonly prover: LateProver
  readonly tunnels: Pick<Tunnels, 'carrierMetrics'>
  /** What all rooms say of themselves. It changes nothing. */
  report(): AgentReport
}
