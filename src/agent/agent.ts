import { asPosternError, type PosternError } from '../base/errors.ts'
import { VERSION } from '../base/version.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { mergeSettings, saysOffers } from '../config/reload.ts'
import type { Recorder } from '../guard/recorder.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import type { Tunnel } from '../tunnel/tunnel.ts'
import { composeHealth, composeRooms, reasonsOf, reportRooms, type Rooms } from './compose.ts'
import { connectRooms } from './connect-rooms.ts'
import type { AgentReport, AgentRooms } from './control/control.ts'
import type { AgentCredential } from './credential/credential.ts'
import { policyOf } from './guard/guard.ts'
import type { Health } from './health/health.ts'

/** The data-plane end: keeps a tunnel to the gateway, and serves what the customer's policy allows. */
export class Agent implements AgentRooms {
  settings: AgentSettings
  readonly startedAtMs: number
  readonly parts: Rooms['parts']
  readonly timeline: Rooms['timeline']
  readonly store: Rooms['store']
  readonly guard: Rooms['guard']
  readonly services: Rooms['services']
  readonly seal: Rooms['seal']
  readonly prover: Rooms['prover']
  readonly tunnels: Rooms['tunnels']
  readonly events: Rooms['events']
  readonly changes: Rooms['changes']
  readonly canaries: Rooms['canaries']
  readonly notices: Rooms['notices']
  readonly health: Health
  readonly #heartbeat: Rooms['heartbeat']
  readonly #ambient: Ambient
  /** Why the settings that were to be taken over are not. */
  #reloadError: PosternError | undefined

  /** `recorder`: what the guard decides goes there, in place of the record of the settings. @throws CONFIG_INVALID, and what reading the identity throws */
  constructor(settings: AgentSettings, ambient: Ambient, recorder?: Recorder) {
    this.settings = settings
    this.#ambient = ambient
    this.startedAtMs = ambient.clock.wallMs()
    const rooms = composeRooms(settings, ambient, recorder)
    this.parts = rooms.parts
    this.timeline = rooms.timeline
    this.store = rooms.store
    this.guard = rooms.guard
    this.services = rooms.services
    this.seal = rooms.seal
    this.prover = rooms.prover
    this.tunnels = rooms.tunnels
    this.events = rooms.events
    this.changes = rooms.changes
    this.canaries = rooms.canaries
    this.notices = rooms.notices
    this.#heartbeat = rooms.heartbeat
    this.health = composeHealth(rooms, settings, ambient, () => ({
      latencyMsMax: this.settings['health.latency'],
      reasons: reasonsOf(this.#reloadError),
    }))
    connectRooms({ ...rooms, health: this.health })
  }

  /** The best of the tunnels. */
  get tunnel(): Tunnel {
    return this.tunnels.main
  }

  get credential(): AgentCredential {
    return this.store.credential
  }

  report(): AgentReport {
    return reportRooms(this, this.health, this.startedAtMs)
  }

  start(): void {
    this.timeline.note('started', `version ${VERSION}`)
    const { health, guard, seal, tunnels, events, changes, services } = this
    for (const room of [guard, seal, health, tunnels, events, changes, services, this.#heartbeat])
      room.start()
  }

  /**
   * Reads the identity's files anew, and takes over what of the settings may change while it runs.
   * @throws what reading and judging throw; what was in force stays
   */
  async reload(read: () => AgentSettings = () => this.settings): Promise<void> {
    try {
      this.#apply(read())
      this.#reloadError = undefined
    } catch (error) {
      this.#reloadError = asPosternError(error, 'CONFIG_INVALID')
      this.timeline.note('settings', `refused: ${this.#reloadError.rawMessage}`)
      throw error
    } finally {
      await this.changes.reload()
      this.tunnels.hurry()
      this.health.judge()
    }
  }

  /** Running calls finish, up to the grace of `drain.grace`. */
  async drain(): Promise<void> {
    this.#stopRooms()
    this.services.health.set('', false)
    await this.tunnels.drain(this.settings['drain.grace'])
  }

  stop(): void {
    this.#stopRooms()
    this.tunnels.stop()
  }

  #stopRooms(): void {
    this.timeline.note('stopping', 'told to stop')
    const { services, events, seal, changes, health, guard } = this
    for (const room of [this.#heartbeat, services, events, seal, changes, health, guard])
      room.stop()
  }

  #apply(next: AgentSettings): void {
    const { settings, changed, waiting } = mergeSettings(this.settings, next)
    const { logger } = this.#ambient
    if (waiting.length > 0) logger.warn({ reason: waiting.join(', ') }, 'settings need a restart')
    const policy = policyOf(settings)
    if (changed.length > 0) this.services.apply(settings)
    this.guard.use(settings, policy)
    if (changed.length === 0) return
    this.settings = settings
    this.timeline.note('settings', `in force: ${changed.join(', ')}`)
    logger.info({ reason: changed.join(', ') }, 'settings have changed')
    if (saysOffers(changed)) void this.#registerAnew()
    this.tunnels.use(settings)
    if (changed.some((key) => key.startsWith('seal.'))) this.seal.use(settings)
    this.events.use(settings)
    this.#heartbeat.use(settings)
  }

  /** What is offered is told by Register alone: each tunnel goes over to a fresh connection. */
  async #registerAnew(): Promise<void> {
    try {
      await this.tunnels.replace()
    } catch (error) {
      const { code, rawMessage: reason } = asPosternError(error)
      this.#ambient.logger.warn({ code, reason }, 'the gateway was not told of the services yet')
    }
  }
}
