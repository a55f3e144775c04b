import type { CancelTimer } from '../base/clock.ts'
import { asPosternError, printable, type PosternError } from '../base/errors.ts'
import { VERSION } from '../base/version.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import type { Policy } from '../guard/policy.ts'
import { callerInHead } from '../rpc/caller.ts'
import type { RpcServer } from '../rpc/server.ts'
import type { Egress } from '../transport/egress.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import type { ProcessParts } from '../tunnel/rpc-connection.ts'
import { Tunnel } from '../tunnel/tunnel.ts'
import { egressOf } from './egress-of.ts'
import { readEnrolUrl } from './enrol-url.ts'
import { GatewayCrls } from './gateway-crls.ts'
import { GatewayLink } from './gateway-link.ts'
import { Canaries } from './canaries.ts'
import { readCapacity } from './capacity.ts'
import { HealthJudge, type Verdict } from './health-judge.ts'
import { healthReasons } from './health-reasons.ts'
import { Heartbeat } from './heartbeat.ts'
import { IdentityKeeper, type AgentCredential, type AgentIdentity } from './identity-keeper.ts'
import { NoticeTaker } from './notice-taker.ts'
import { Places } from './places.ts'
import { makeRenewal } from './make-renewal.ts'
import { mergeSettings } from './reload.ts'
import type { Renewal } from './renewal.ts'
import { Serving } from './serving.ts'
import { Timeline } from './timeline.ts'
import { TunnelCare } from './tunnel-care.ts'
import { Tunnels, type Slot } from './tunnels.ts'
import { WakeWatch } from './wake-watch.ts'

const LOOK_MS = 1000

/** The data-plane end: keeps a tunnel to the gateway, and serves what the customer's policy allows. */
export class Agent {
  settings: AgentSettings
  readonly keeper: IdentityKeeper
  /** Present where the agent manages its own certificate. */
  readonly renewal: Renewal | undefined
  readonly identity: AgentIdentity
  readonly parts: ProcessParts
  readonly serving: Serving
  readonly places: Places
  readonly tunnels: Tunnels
  readonly link: GatewayLink
  readonly care: TunnelCare
  readonly notices: NoticeTaker
  readonly startedAtMs: number
  readonly canaries: Canaries
  readonly timeline: Timeline
  readonly heartbeat: Heartbeat
  readonly #ambient: Ambient
  readonly #judge: HealthJudge
  /** Why the settings that were to be taken over are not. */
  reloadError: PosternError | undefined
  /** A tunnel has been up since the start. */
  wasUp = false
  #health = 'down'
  #cancelLook: CancelTimer | undefined
  readonly #crls: GatewayCrls
  readonly #egress: Egress

  /** @throws CONFIG_INVALID, and what reading the identity throws */
  constructor(settings: AgentSettings, ambient: Ambient) {
    this.settings = settings
    this.#ambient = ambient
    this.startedAtMs = ambient.clock.wallMs()
    this.canaries = new Canaries(ambient.clock)
    this.timeline = new Timeline(ambient.clock)
    this.#judge = new HealthJudge(settings['health.delay'], this.startedAtMs)
    this.parts = processParts(settings, ambient)
    this.#egress = egressOf(settings)
    const logger = ambient.logger.child({ component: 'identity' })
    this.keeper = new IdentityKeeper({
      settings,
      ambient,
      logger,
      onChanged: async () => {
        const isProven = await this.tunnels.replace()
        // Where none is up, there is no reason to wait any longer.
        this.tunnels.hurry()
        return isProven
      },
    })
    this.identity = this.keeper.credential.identity
    this.#crls = new GatewayCrls(
      this.keeper.isManaged ? settings['state.directory'] : undefined,
      logger,
    )
    this.places = new Places([settings['gateway.address'], ...settings['gateway.addresses']])
    this.link = this.#makeLink()
    this.tunnels = this.#makeTunnels()
    this.care = this.#makeCare()
    this.notices = this.#makeNoticeTaker()
    this.serving = this.#makeServing()
    this.heartbeat = this.#makeHeartbeat()
    if (this.keeper.isManaged) this.renewal = this.#makeRenewal()
  }

  get server(): RpcServer {
    return this.serving.server
  }

  get policy(): Policy {
    return this.serving.policy
  }

  /** The best of the tunnels. */
  get tunnel(): Tunnel {
    return this.tunnels.main
  }

  get credential(): AgentCredential {
    return this.keeper.credential
  }

  start(): void {
    this.timeline.note('started', `version ${VERSION}`)
    this.#lookAtHealth()
    this.tunnels.start()
    this.keeper.start()
    this.renewal?.start()
    this.care.start()
    this.serving.start()
    this.heartbeat.start()
  }

  /**
   * Reads the identity's files anew, and takes over what of the settings may change while it runs.
   * @throws what reading and judging throw; what was in force stays
   */
  async reload(read: () => AgentSettings = () => this.settings): Promise<void> {
    try {
      this.#apply(read())
      this.reloadError = undefined
    } catch (error) {
      this.reloadError = asPosternError(error, 'CONFIG_INVALID')
      this.timeline.note('settings', `refused: ${this.reloadError.rawMessage}`)
      throw error
    } finally {
      await this.keeper.reload()
      this.tunnels.hurry()
    }
  }

  #apply(next: AgentSettings): void {
    const { settings, changed, waiting } = mergeSettings(this.settings, next)
    const { logger } = this.#ambient
    if (waiting.length > 0) logger.warn({ reason: waiting.join(', ') }, 'settings need a restart')
    if (changed.length === 0) return
    this.serving.apply(settings)
    this.settings = settings
    this.places.configure([settings['gateway.address'], ...settings['gateway.addresses']])
    this.timeline.note('settings', `in force: ${changed.join(', ')}`)
    logger.info({ reason: changed.join(', ') }, 'settings have changed')
    if (changed.includes('services')) void this.#registerAnew()
    this.tunnels.review()
    this.heartbeat.start()
    this.heartbeat.tell()
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

  /** Running calls finish, up to the grace of `drain.grace`. */
  async drain(): Promise<void> {
    this.#stopTending()
    this.serving.health.set('', false)
    await this.tunnels.drain(this.settings['drain.grace'])
  }

  stop(): void {
    this.#stopTending()
    this.tunnels.stop()
  }

  /** Where no certificate is asked for: of the settings, or where we enrolled. */
  get enrolUrl(): URL | undefined {
    const named = this.settings['identity.enrollUrl']
    if (named !== undefined) return new URL(named)
    return this.keeper.isManaged ? readEnrolUrl(this.settings['state.directory']) : undefined
  }

  /** How it is, and why: reasons that come and go in a moment do not count. */
  judgeHealth(nowWallMs: number): Verdict {
    const verdict = this.#judge.look(healthReasons(this, nowWallMs), nowWallMs)
    if (verdict.health !== this.#health) {
      this.#health = verdict.health
      const words = [verdict.health, ...verdict.reasons.map(({ text }) => text)]
      this.timeline.note('health', words.join('; '))
    }
    return verdict
  }

  #lookAtHealth(): void {
    const { clock } = this.#ambient
    this.judgeHealth(clock.wallMs())
    this.#cancelLook = clock.startTimer(LOOK_MS, () => {
      this.#lookAtHealth()
    })
  }

  #stopTending(): void {
    this.#cancelLook?.()
    this.timeline.note('stopping', 'told to stop')
    this.renewal?.stop()
    this.keeper.stop()
    this.care.stop()
    this.serving.stop()
    this.heartbeat.stop()
  }

  #makeServing(): Serving {
    return new Serving(this.settings, {
      ambient: this.#ambient,
      process: this.parts,
      own: this.notices.offers(),
      onChange: ({ name, isDown, reason }) => {
        this.timeline.note('service', `${name} is ${isDown ? `down: ${reason}` : 'up'}`)
        this.heartbeat.tell()
      },
    })
  }

  #makeHeartbeat(): Heartbeat {
    const { clock, logger } = this.#ambient
    return new Heartbeat({
      clock,
      logger: logger.child({ component: 'heartbeat' }),
      tunnels: this.tunnels,
      intervalMs: () => this.settings['heartbeat.interval'],
      healths: () => this.serving.healths,
      capacity: () => readCapacity(this.settings['state.directory']),
    })
  }

  #makeNoticeTaker(): NoticeTaker {
    const { logger } = this.#ambient
    return new NoticeTaker({
      logger: logger.child({ component: 'notices' }),
      clock: this.#ambient.clock,
      adopt: (bundles) => this.keeper.adopt(bundles),
      takeCrls: (crls, authorities) => {
        this.#crls.take(crls, authorities, this.keeper.roots)
        this.#judgeGateways()
      },
      orderRenewal: (withinMs) => this.renewal?.order(withinMs),
      takeCanary: (gateway, canary) => {
        this.canaries.take(gateway, canary)
      },
      onWarning: (text) => {
        this.timeline.note('warning', text)
      },
    })
  }

  #makeRenewal(): Renewal {
    const { keeper, tunnels, timeline } = this
    return makeRenewal({
      settings: this.settings,
      ambient: this.#ambient,
      keeper,
      tunnels,
      timeline,
      egress: this.#egress,
      enrolUrl: () => this.enrolUrl,
    })
  }

  #makeLink(): GatewayLink {
    return new GatewayLink({
      settings: this.settings,
      ambient: this.#ambient,
      keeper: this.keeper,
      crls: this.#crls,
      egress: this.#egress,
      places: this.places,
      care: () => this.care,
      serving: () => this.serving,
      renewalError: () => this.renewal?.lastError,
    })
  }

  #makeCare(): TunnelCare {
    return new TunnelCare({
      tunnels: this.tunnels,
      isOutdated: (facts) => this.link.isOutdated(facts),
      clock: this.#ambient.clock,
      wakes: new WakeWatch(this.#ambient.clock),
      logger: this.#ambient.logger.child({ component: 'tunnel' }),
      credential: () => this.keeper.credential,
      enrolUrl: () => this.enrolUrl,
      issuingKeys: () => this.keeper.trust.issuingKeys,
      egress: this.#egress,
      bundleVersion: () => this.keeper.trust.version,
      adopt: (bundles) => this.keeper.adopt(bundles),
      orderRenewal: () => this.renewal?.order(0),
    })
  }

  #makeTunnels(): Tunnels {
    return new Tunnels({
      clock: this.#ambient.clock,
      places: this.places,
      countMax: () => this.settings['tunnel.count'],
      make: (slot, onDown) => this.#makeTunnel(slot, onDown),
    })
  }

  #makeTunnel(slot: Slot, onDown: (cause: PosternError) => void): Tunnel {
    const { settings, parts } = this
    return new Tunnel({
      process: parts,
      logger: this.#ambient.logger.child({ component: 'tunnel', ...this.identity }),
      backoff: { minMs: settings['backoff.min'], maxMs: settings['backoff.max'] },
      dialTimeoutMs: settings['tunnel.dialTimeout'],
      stableMs: settings['backoff.stable'],
      dial: (signal) => this.link.dial(slot, signal),
      register: (connection) => this.link.register(slot, connection),
      onUp: () => {
        this.wasUp = true
        this.#noteUp()
        this.tunnels.review()
        this.heartbeat.tell()
      },
      onDown: (cause) => {
        onDown(cause)
        if (cause.code !== 'GATEWAY_HELD')
          this.timeline.note('tunnel-down', `${cause.code}: ${cause.rawMessage}`)
        this.care.explain(cause)
      },
      onOpen: (peer, stream, bytes, start, end, isEnded) => {
        const arrival = {
          callerOf: (head: { caller: string }) => callerInHead(head, peer),
          nowMs: parts.runtime.clock.nowMs(),
        }
        this.server.open(stream, arrival, bytes, start, end, isEnded, this.identity.cluster)
      },
    })
  }

  #noteUp(): void {
    const names = this.tunnels.ready.map(({ welcome }) => printable(welcome.gateway))
    this.timeline.note('tunnel-up', `with ${names.sort().join(', ')}`)
  }

  /** Gateways that we are connected to may be on a list, or under a CA, that has just gone. */
  #judgeGateways(): void {
    for (const connection of this.tunnels.connections) {
      const refusal = this.link.refusalOf(connection.facts)
      if (refusal !== undefined) connection.close(refusal)
    }
  }
}
