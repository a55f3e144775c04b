import type { PosternError } from '../base/errors.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { egressOf } from '../config/egress.ts'
import type { Recorder } from '../guard/recorder.ts'
import type { Credential } from '../identity/key-files.ts'
import { identityUri, type Identity } from '../identity/name.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import type { ProcessParts } from '../tunnel/rpc-connection.ts'
import { Carriers } from './carriers/carriers.ts'
import { CredentialChanges } from './changes/changes.ts'
import type { AgentReport } from './control/control.ts'
import { CredentialStore } from './credential/credential.ts'
import { AgentEvents } from './events/events.ts'
import { AgentGuard, AgentRecord } from './guard/guard.ts'
import { Health, Timeline, type Reason } from './health/health.ts'
import { Canaries, canaryReasons, Heartbeat, Notices } from './notices/notices.ts'
import { AgentSeal } from './seal/seal.ts'
import { LateProver } from './prove/prove.ts'
import { Services } from './services/services.ts'
import { Tunnels } from './tunnels/tunnels.ts'

/** The rooms of an agent that are made before its health. */
export interface Rooms {
  readonly parts: ProcessParts
  readonly timeline: Timeline
  readonly store: CredentialStore
  readonly guard: AgentGuard
  readonly services: Services
  readonly seal: AgentSeal
  readonly prover: LateProver
  readonly tunnels: Tunnels
  readonly events: AgentEvents
  readonly changes: CredentialChanges
  readonly canaries: Canaries
  readonly notices: Notices
  readonly heartbeat: Heartbeat
}

/** Makes the rooms of an agent, in order. @throws CONFIG_INVALID, and what reading the identity throws */
export function composeRooms(
  settings: AgentSettings,
  ambient: Ambient,
  recorder?: Recorder,
): Rooms {
  const { clock } = ambient
  const log = (component: string): Ambient['logger'] => ambient.logger.child({ component })
  const parts = processParts(settings, ambient)
  const timeline = new Timeline(clock)
  const egress = egressOf(settings)
  const store = new CredentialStore(settings, ambient, log('identity'))
  const record = new AgentRecord(settings, ambient, identityUri(store.credential.identity))
  const guard = new AgentGuard(settings, ambient, recorder ?? record)
  const identity = (): Identity => store.credential.identity
  const services = new Services(settings, ambient, parts, guard.guard, identity)
  const bundlePem = (): string => store.credential.bundlePem
  const seal = new AgentSeal({ settings, ambient, process: parts, services, guard, bundlePem })
  const credential = (): Credential => store.credential
  const prover = new LateProver({ settings, process: parts, guard, services, seal, credential })
  const common = { settings, ambient, store, guard, egress }
  const carriers = new Carriers(settings, ambient, egress)
  const tunnels = new Tunnels({ ...common, carriers, process: parts, services, seal })
  const events = new AgentEvents({ settings, ambient, logger: log('events'), guard, tunnels })
  const changes = new CredentialChanges({ ...common, prover: tunnels })
  const canaries = new Canaries(clock)
  const logger = log('notices')
  const notices = new Notices({
    ...{ logger, clock, store, guard, changes, tunnels, canaries, services },
  })
  services.offerToGateways(notices.offers())
  const { random } = ambient
  const beats = { settings, clock, random, logger: log('heartbeat'), guard, tunnels, services }
  const heartbeat = new Heartbeat(beats)
  const renewal = { store, changes, notices }
  return {
    parts,
    timeline,
    guard,
    services,
    seal,
    prover,
    tunnels,
    events,
    canaries,
    heartbeat,
    ...renewal,
  }
}

/** Judges how the agent is by what its rooms say; `own`: the agent's own reasons. */
export function composeHealth(
  { tunnels, events, canaries, store, guard, services, seal, changes, notices, timeline }: Rooms,
  settings: AgentSettings,
  { clock }: Ambient,
  own: () => { readonly latencyMsMax: number; readonly reasons: readonly Reason[] },
): Health {
  const reasons = (nowMs: number): readonly Reason[] => {
    const { latencyMsMax, reasons: others } = own()
    return [
      ...tunnels.reasons(),
      ...canaryReasons(tunnels, canaries, latencyMsMax, nowMs),
      ...store.reasons(nowMs),
      ...guard.reasons(nowMs),
      ...services.reasons(),
      ...seal.reasons(),
      ...changes.reasons(),
      ...notices.reasons(nowMs),
      ...events.reasons(),
      ...others,
    ]
  }
  return new Health({ clock, timeline, delayMs: settings['health.delay'], reasons })
}

/** Sums up what the rooms of an agent say of themselves. It changes nothing. */
export function reportRooms(
  rooms: Omit<Rooms, 'heartbeat' | 'prover'>,
  health: Health,
  startedAtMs: number,
): AgentReport {
  const { parts, timeline, store, guard, services, seal, tunnels, changes, notices, events } = rooms
  const { reservedBytes, bytesMax } = parts.budget
  return {
    startedAtMs,
    buffers: { reservedBytes, bytesMax },
    health: health.report(),
    credential: store.report(),
    changes: changes.report(),
    guard: guard.report(),
    services: services.report(),
    seal: seal.report(),
    tunnels: tunnels.report(),
    notices: notices.report(),
    runs: events.report(),
    events: timeline.events,
  }
}

/** The agent's own reasons not to be healthy. `reloadError`: why the settings on disk are not in force. */
export function reasonsOf(reloadError: PosternError | undefined): readonly Reason[] {
  if (reloadError === undefined) return []
  const text = `the settings on disk are not in force: ${reloadError.rawMessage}`
  return [{ key: 'settings', text }]
}
