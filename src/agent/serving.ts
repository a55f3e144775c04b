import { LogLimiter } from '../base/log-limiter.ts'
import { sameSetting } from './reload.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { checkTarget } from '../dataplane/check-target.ts'
import { diagnosticsOffers } from '../dataplane/diagnostics.ts'
import { forwardOffer } from '../dataplane/forwards.ts'
import { healthOffers, HealthBoard } from '../dataplane/health.ts'
import { Probes, type ServiceHealth } from '../dataplane/probes.ts'
import { Policy } from '../guard/policy.ts'
import { callerText } from '../rpc/caller.ts'
import { RpcServer } from '../rpc/server.ts'
import type { Offer } from '../rpc/service.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import type { ProcessParts } from '../tunnel/rpc-connection.ts'
import { judgedServices } from './judged-services.ts'

export interface ServingParts {
  readonly ambient: Ambient
  readonly process: ProcessParts
  /** What the agent serves to gateways, and to nobody else. */
  readonly own: readonly Offer[]
  /** A probed service went up or down. */
  readonly onChange: (health: ServiceHealth) => void
}

/** What an agent serves, to whom, and how what lies behind it is. All of it may change while it runs. */
export class Serving {
  readonly server: RpcServer
  readonly policy: Policy
  readonly health = new HealthBoard()
  readonly #parts: ServingParts
  readonly #log: LogLimiter
  #probes: Probes
  #services: readonly string[] = []
  #isStarted = false
  /** Those in force. */
  #settings: AgentSettings | undefined
  /** Grows with each change of what is offered. */
  version = 0

  /** @throws CONFIG_INVALID */
  constructor(settings: AgentSettings, parts: ServingParts) {
    const { clock, logger } = parts.ambient
    this.#parts = parts
    this.#log = new LogLimiter(logger, clock)
    this.policy = new Policy([])
    const { runtime } = parts.process
    // What gateways may ask for themselves is all that this one offers, and no caller comes to it.
    const forGateways = new RpcServer(runtime, () => undefined)
    for (const offer of parts.own) forGateways.offer(offer)
    this.server = new RpcServer(
      runtime,
      ({ caller, name, isForward, dataType, offeredDataType }) =>
        this.policy.decide({
          caller: callerText(caller),
          ...{ name, isForward, dataType, offeredDataType },
        }),
      forGateways,
    )
    for (const offer of [...healthOffers(this.health), ...diagnosticsOffers(clock)])
      this.server.offer(offer)
    this.#probes = this.#makeProbes(settings)
    this.apply(settings)
  }

  /** Of every service that is probed and was looked at. */
  get healths(): readonly ServiceHealth[] {
    return this.#probes.healths
  }

  /** Goes over to other services, rules and probes; running calls go on. @throws CONFIG_INVALID, and nothing changes */
  apply(settings: AgentSettings): void {
    const services = judgedServices(settings)
    this.policy.use(settings.allow)
    const before = this.#settings
    this.#settings = settings
    const isSame = (...keys: (keyof AgentSettings)[]): boolean =>
      before !== undefined && keys.every((key) => sameSetting(before[key], settings[key]))
    if (!isSame('services', 'forward.dialTimeout')) this.#offer(services, settings)
    if (isSame('services', 'probes', 'probe.exec')) return
    const { healths } = this.#probes
    this.#probes.stop()
    this.#probes = this.#makeProbes(settings)
    // What is looked at as before is as it was: nothing that is down becomes up by a reload.
    this.#probes.keep(healths)
    if (this.#isStarted) this.#probes.start()
  }

  /** Nothing of it may fail: the settings were judged. */
  #offer(services: ReturnType<typeof judgedServices>, settings: AgentSettings): void {
    const { clock, logger } = this.#parts.ambient
    const dialTimeoutMs = settings['forward.dialTimeout']
    const names = services.map(({ name }) => name)
    for (const name of this.#services) {
      if (names.includes(name)) continue
      this.server.withdrawForward(name)
      this.health.remove(name)
    }
    for (const service of services) {
      this.server.offer(forwardOffer(service, { clock, logger, log: this.#log, dialTimeoutMs }))
      if (!this.#services.includes(service.name)) this.health.set(service.name, true)
    }
    this.#services = names
    this.version++
  }

  start(): void {
    this.#isStarted = true
    this.#probes.start()
  }

  stop(): void {
    this.#probes.stop()
  }

  #makeProbes({ services, probes }: AgentSettings): Probes {
    const { ambient, onChange } = this.#parts
    const { clock, random, logger } = ambient
    return new Probes(probes, {
      clock,
      random,
      check: async (row, signal) => {
        const target = row.target ?? services.find(({ name }) => name === row.service)?.target
        if (target !== undefined) await checkTarget(row, target, signal)
      },
      onChange: (health) => {
        const { name: service, isDown, reason } = health
        this.health.set(service, !isDown)
        const facts = { component: 'probes', service, reason }
        if (isDown) logger.warn(facts, 'a service is down')
        else logger.info(facts, 'a service is up')
        onChange(health)
      },
    })
  }
}
