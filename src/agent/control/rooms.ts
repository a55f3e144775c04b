import type { AgentSettings } from '../../config/agent-settings.ts'
import type { ProcessParts } from '../../tunnel/rpc-connection.ts'
import type { CredentialChanges } from '../changes/changes.ts'
import type { CredentialStore } from '../credential/credential.ts'
import type { Health, Timeline } from '../health/health.ts'
import type { Canaries, Notices } from '../notices/notices.ts'
import type { Services } from '../services/services.ts'
import type { Tunnels } from '../tunnels/tunnels.ts'

/** The rooms of a running agent, for what reports on all of them. */
export interface AgentRooms {
  readonly settings: AgentSettings
  /** In wall-clock ms. */
  readonly startedAtMs: number
  readonly parts: ProcessParts
  readonly timeline: Timeline
  readonly store: CredentialStore
  readonly services: Services
  readonly tunnels: Tunnels
  readonly changes: CredentialChanges
  readonly canaries: Canaries
  readonly notices: Notices
  readonly health: Health
}
