import type { CancelTimer } from '../base/clock.ts'
import { printable, type PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import { VERSION } from '../base/version.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { checkTarget } from '../dataplane/check-target.ts'
import { diagnosticsOffers } from '../dataplane/diagnostics.ts'
import { forwardOffer } from '../dataplane/forwards.ts'
import { healthOffers, HealthBoard } from '../dataplane/health.ts'
import { Probes, type ServiceHealth } from '../dataplane/probes.ts'
import { Policy } from '../guard/policy.ts'
import { RpcServer } from '../rpc/server.ts'
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
import { judgedServices } from './judged-services.ts'
import { NOTICES, NoticeTaker } from './notice-taker.ts'
import { Places } from './places.ts'
import { Renewal } from './renewal.ts'
import { Timeline } from './timeline.ts'
import { TunnelCare } from './tunnel-care.ts'
import { Tunnels, type Slot } from './tunnels.ts'
import { WakeWatch } from './wake-watch.ts'
import { askForRenewal } from './ways-to-renew.ts'

const LOOK_MS = 1000

/** The data-plane end: keeps a tunnel to the gateway, and serves what the customer's policy allows. */
export class Agent {
  readonly settings: AgentSettings
  readonly keeper: IdentityKeeper
  /** Present where the agent manages its own certificate. */
  readonly renewal: Renewal | undefined
  readonly identity: AgentIdentity
  readonly parts: ProcessParts
  readonly policy: Policy
  readonly server: RpcServer
  readonly places: Places
  readonly tunnels: Tunnels
  readonly link: GatewayLink
  readonly care: TunnelCare
  readonly notices: NoticeTaker
  readonly startedAtMs: number
  readonly health = new HealthBoard()
  readonly probes: Probes
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
    const services = judgedServices(settings)
    this.policy = new Policy(settings.allow)
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
    this.server = this.#makeServer(services)
    this.probes = this.#makeProbes()
    this.heartbeat = this.#makeHeartbeat()
    if (this.keeper.isManaged) this.renewal = this.#makeRenewal()
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
    this.probes.start()
    this.heartbeat.start()
  }

  /** Reads the identity's files anew. @throws what reading them throws; nothing changes then */
  async reload(): Promise<void> {
    await this.keeper.reload()
    this.tunnels.hurry()
  }

  /** Running calls finish, up to the grace of `drain.grace`. */
  async drain(): Promise<void> {
    this.#stopTending()
    this.health.set('', false)
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
    this.probes.stop()
    this.heartbeat.stop()
  }

  #makeServer(services: ReturnType<typeof judgedServices>): RpcServer {
    const { clock, logger } = this.#ambient
    const server = new RpcServer(this.parts.runtime, (request) =>
      // The gateway's own word, not a caller's: no caller has an empty name.
      request.caller === '' && NOTICES.includes(request.name)
        ? undefined
        : this.policy.decide(request),
    )
    const log = new LogLimiter(logger, clock)
    const dialTimeoutMs = this.settings['forward.dialTimeout']
    const own = [
      ...healthOffers(this.health),
      ...diagnosticsOffers(clock),
      ...this.notices.offers(),
    ]
    for (const offer of own) server.offer(offer)
    for (const service of services) {
      server.offer(forwardOffer(service, { clock, logger, log, dialTimeoutMs }))
      this.health.set(service.name, true)
    }
    return server
  }

  #makeProbes(): Probes {
    const { clock, random, logger } = this.#ambient
    const targetOf = (name: string) =>
      this.settings.services.find((service) => service.name === name)?.target
    return new Probes(this.settings.probes, {
      clock,
      random,
      check: async (row, signal) => {
        const target = row.target ?? targetOf(row.service)
        if (target !== undefined) await checkTarget(row, target, signal)
      },
      onChange: ({ name: service, isDown, reason }: ServiceHealth) => {
        this.health.set(service, !isDown)
        const facts = { component: 'probes', service, reason }
        this.timeline.note('service', `${service} is ${isDown ? `down: ${reason}` : 'up'}`)
        if (isDown) logger.warn(facts, 'a service is down')
        else logger.info(facts, 'a service is up')
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
      healths: () => this.probes.healths,
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
      takeCanary: (canary) => {
        this.canaries.take(canary)
      },
      onWarning: (text) => {
        this.timeline.note('warning', text)
      },
    })
  }

  #makeRenewal(): Renewal {
    const { clock, random, logger } = this.#ambient
    const { keeper, tunnels } = this
    const url = this.settings['identity.renewUrl']
    return new Renewal({
      generations: keeper.generations,
      clock,
      random,
      logger: logger.child({ component: 'renewal' }),
      apartMs: this.settings['identity.renewApart'],
      credential: () => keeper.credential,
      trust: () => keeper.trust,
      exclusively: (act) => keeper.exclusively(act),
      ask: (signingRequest) =>
        askForRenewal(
          {
            tunnels,
            credential: () => keeper.credential,
            issuingKeys: () => keeper.trust.issuingKeys,
            egress: this.#egress,
            renewUrl: url === undefined ? undefined : new URL(url),
            enrolUrl: this.enrolUrl,
            nowMs: () => clock.wallMs(),
          },
          signingRequest,
        ),
      onRenewed: async () => {
        this.timeline.note('certificate', 'renewed')
        try {
          await keeper.renewed()
        } catch (error) {
          // The certificate is there; that the tunnel goes over to it is looked after.
          logger.warn({ err: error }, 'the tunnel could not go over to the new certificate yet')
        }
        tunnels.hurry()
      },
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
      server: () => this.server,
    })
  }

  #makeCare(): TunnelCare {
    return new TunnelCare({
      tunnels: this.tunnels,
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
      onOpen: (stream, bytes, start, end, isEnded) => {
        const arrival = {
          callerOf: (head: { caller: string }) => head.caller,
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
