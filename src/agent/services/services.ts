import { addressText } from '../../base/address.ts'
import type { Sample } from '../../base/metrics.ts'
import { Listeners } from '../../base/listeners.ts'
import { LogLimiter } from '../../base/log-limiter.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import type { ClusterDescription } from '../../dataplane/cluster.ts'
import { forwardOffer } from '../../dataplane/forwards.ts'
import { HealthBoard } from '../../dataplane/health.ts'
import type { Probes, ServiceHealth } from '../../dataplane/probes.ts'
import type { EmbeddedService } from '../../dataplane/vendor/vendor.ts'
import type { DispatchRequest } from '../../gen/postern/dataplane/v1/tasks_pb.js'
import type { Identity } from '../../identity/name.ts'
import type { Guard } from '../../guard/guard.ts'
import { RpcServer } from '../../rpc/server.ts'
import type { Offer } from '../../rpc/service.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { ProcessParts } from '../../tunnel/rpc-connection.ts'
import { forwardRows, grpcRows, type ServiceRow } from '../../config/service-row.ts'
import { judgeAgentServices } from '../../config/agent-rules.ts'
import { sameSetting } from '../../config/reload.ts'
import type { Reason } from '../health/health.ts'
import { describeCluster } from './describe.ts'
import { methodOffers } from './offered.ts'
import { BackendUses, type BackendUseReport } from '../../dataplane/backend-use.ts'
import { DataPlane, isSameDataPlane, type BackendReport } from './data-plane.ts'
import { makeProbes } from './probing.ts'
import { Vendors, type Described } from './vendors.ts'

/** What an agent offers, how it is, and what became of calls since the start. */
export interface ServicesReport {
  readonly running: number
  /** Ended calls; the index is the number of the gRPC status. */
  readonly endedByStatus: readonly number[]
  /** Ended calls as metrics show them. */
  readonly calls: readonly Sample[]
  /** What uses of each backend came to. */
  readonly backends: readonly BackendUseReport[]
  readonly services: readonly {
    readonly name: string
    readonly dataType: string
    readonly target: string
    /** Undefined where it is not probed, or was not looked at yet. */
    readonly health: ServiceHealth | undefined
  }[]
  readonly dataPlane: readonly BackendReport[]
}

/** The agent's services: what is offered, who may call it, and whether the targets behind it are up. */
export class Services {
  readonly server: RpcServer
  readonly health = new HealthBoard()
  /** A probed service went up or down. */
  readonly changed = new Listeners<ServiceHealth>()
  /** An executor has taken a task. */
  readonly dispatched = new Listeners<DispatchRequest>()
  readonly #ambient: Ambient
  readonly #runtime: ProcessParts['runtime']
  readonly #log: LogLimiter
  /** What gateways may ask in their own name is all that this one offers, and no caller comes to it. */
  readonly #forGateways: RpcServer
  /** They count over changes of the settings. */
  readonly #uses: BackendUses
  readonly #vendors: Vendors
  #probes: Probes
  #dataPlane: DataPlane
  #names: readonly string[] = []
  #isStarted = false
  /** Those in force. */
  #settings: AgentSettings | undefined
  /** Grows with each change of what is offered. */
  version = 0

  /** `identity`: who this is. @throws CONFIG_INVALID */
  constructor(
    settings: AgentSettings,
    ambient: Ambient,
    { runtime, budget }: ProcessParts,
    guard: Guard,
    identity: () => Identity | undefined = () => undefined,
  ) {
    const { clock, logger } = ambient
    this.#ambient = ambient
    this.#uses = new BackendUses(clock)
    this.#runtime = runtime
    this.#log = new LogLimiter(logger, clock)
    this.#forGateways = new RpcServer(runtime, guard)
    this.server = new RpcServer(runtime, guard, this.#forGateways)
    this.#vendors = new Vendors(this.server, this.health, {
      ...{ clock, log: this.#log, budget },
      messageBytesMax: settings['rpc.messageBytesMax'],
      onHealth: (health) => {
        this.#heard(health)
      },
    })
    const startedAtMs = clock.wallMs()
    const describe = (): ClusterDescription =>
      describeCluster({
        ...{ settings: this.#settings ?? settings, identity: identity(), startedAtMs },
        ...{ healths: this.healths, backends: this.#dataPlane.report() },
      })
    for (const offer of methodOffers(this.health, clock, describe)) this.server.offer(offer)
    this.#probes = this.#makeProbes(settings)
    this.#dataPlane = this.#makeDataPlane(settings)
    for (const offer of this.#dataPlane.offers) this.server.offer(offer)
    this.apply(settings)
  }

  /** Offers methods to gateways, and to nobody else. */
  offerToGateways(offers: readonly Offer[]): void {
    for (const offer of offers) this.#forGateways.offer(offer)
  }

  /** Offers a service whose handlers run in this process; before the start. */
  embed(service: EmbeddedService): void {
    this.#vendors.embed(service)
    this.version++
  }

  /** Of every service that is probed and was looked at. */
  get healths(): readonly ServiceHealth[] {
    return this.#probes.healths
  }

  /** Goes over to other services, rules and probes; running calls go on. @throws CONFIG_INVALID, and nothing changes */
  apply(settings: AgentSettings): void {
    const services = judgeAgentServices(settings)
    const before = this.#settings
    this.#settings = settings
    const isSame = (...keys: (keyof AgentSettings)[]): boolean =>
      before !== undefined && keys.every((key) => sameSetting(before[key], settings[key]))
    if (!isSame('services', 'forward.dialTimeout')) this.#offer(forwardRows(services), settings)
    // Descriptions may have changed where the settings have not.
    if (this.#vendors.apply(grpcRows(services))) this.version++
    if (before !== undefined && !isSameDataPlane(before, settings)) this.#offerData(settings)
    if (isSame('services', 'probes', 'probe.exec')) return
    const { healths } = this.#probes
    this.#probes.stop()
    this.#probes = this.#makeProbes(settings)
    // What is looked at as before is as it was: nothing that is down becomes up by a reload.
    this.#probes.keep(healths)
    if (this.#isStarted) this.#probes.start()
  }

  /** Nothing of it may fail: the settings were judged. */
  #offer(services: readonly ServiceRow[], settings: AgentSettings): void {
    const { clock, logger } = this.#ambient
    const dialTimeoutMs = settings['forward.dialTimeout']
    const names = services.map(({ name }) => name)
    for (const name of this.#names) {
      if (names.includes(name)) continue
      this.server.withdraw(name)
      this.health.remove(name)
    }
    for (const service of services) {
      this.server.offer(forwardOffer(service, { clock, logger, log: this.#log, dialTimeoutMs }))
      if (!this.#names.includes(service.name)) this.health.set(service.name, true)
    }
    this.#names = names
    this.version++
  }

  #makeDataPlane(settings: AgentSettings): DataPlane {
    return new DataPlane(settings, this.#ambient, this.#uses, (request) => {
      this.dispatched.tell(request)
    })
  }

  #offerData(settings: AgentSettings): void {
    const names = this.#dataPlane.offers.map(({ name }) => name)
    this.#dataPlane = this.#makeDataPlane(settings)
    for (const name of names) this.server.withdraw(name)
    for (const offer of this.#dataPlane.offers) this.server.offer(offer)
    if (this.#isStarted) this.#dataPlane.start()
    this.version++
  }

  start(): void {
    this.#isStarted = true
    this.#dataPlane.start()
    this.#probes.start()
    this.#vendors.start()
  }

  stop(): void {
    this.#probes.stop()
    this.#vendors.stop()
  }

  /** What describes the methods of vendors' servers; undefined: nothing does. */
  get described(): Described | undefined {
    return this.#vendors.described
  }

  /** What is offered, how it is, and what became of calls. */
  report(): ServicesReport {
    const { healths } = this
    const services = forwardRows(this.#settings?.services ?? [])
    return {
      running: this.server.runningCount,
      endedByStatus: this.#runtime.served,
      calls: this.server.counts.samples(),
      services: [
        ...services.map(({ name, dataType, protocol, target }) => ({
          name,
          dataType,
          target: `${protocol}://${addressText(target)}`,
          health: healths.find((one) => one.name === name),
        })),
        ...this.#vendors.report().map((one) => ({ ...one, dataType: 'by method' })),
      ],
      dataPlane: this.#dataPlane.report(),
      backends: this.#uses.report(),
    }
  }

  /** What keeps the agent from being healthy. */
  reasons(): Reason[] {
    const vendors = this.#vendors.report().flatMap(({ health }) => health ?? [])
    return [...this.healths, ...vendors]
      .filter(({ isDown }) => isDown)
      .map(({ name, reason }) => ({
        key: `service ${name}`,
        text: `service ${name} is down: ${reason}`,
      }))
  }

  #makeProbes(settings: AgentSettings): Probes {
    return makeProbes(settings, this.#ambient, (health) => {
      this.#heard(health)
    })
  }

  #heard(health: ServiceHealth): void {
    this.health.set(health.name, !health.isDown)
    this.changed.tell(health)
  }
}

export { offeredData } from './offered.ts'
