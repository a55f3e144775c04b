import { printable, type PosternError } from '../../base/errors.ts'
import { Listeners } from '../../base/listeners.ts'
import type { Address } from '../../base/address.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { callerInHead } from '../../rpc/caller.ts'
import type { Origin } from '../../rpc/server.ts'
import type { Egress } from '../../transport/egress.ts'
import type { TlsFacts } from '../../transport/tls-wire.ts'
import type { TunnelState } from '../../tunnel/lifecycle.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { ProcessParts } from '../../tunnel/rpc-connection.ts'
import { Tunnel } from '../../tunnel/tunnel.ts'
import type { Carriers, CarriersReport } from '../carriers/carriers.ts'
import type { CredentialStore } from '../credential/credential.ts'
import type { AgentGuard } from '../guard/guard.ts'
import type { Reason } from '../health/health.ts'
import type { AgentSeal } from '../seal/seal.ts'
import type { Services } from '../services/services.ts'
import { Dialer } from './dialer.ts'
import { GatewayDirectory } from './gateway-directory.ts'
import { reportTunnel, type TunnelReport } from './tunnel-report.ts'
import { TunnelSet, type OtherTunnels } from './tunnel-set.ts'
import { TunnelUpkeep } from './upkeep.ts'

/** How the tunnels are. Times in wall-clock ms. */
export interface TunnelsReport {
  readonly ways: CarriersReport
  readonly wanted: number
  readonly up: number
  /** The best of them. */
  readonly main: TunnelReport
  readonly all: readonly TunnelReport[]
  readonly lastError:
    { readonly code: string; readonly message: string; readonly atMs: number } | undefined
}

/** The values and collaborators that Tunnels is given. */
export interface TunnelsPorts {
  readonly settings: AgentSettings
  readonly ambient: Ambient
  readonly process: ProcessParts
  readonly store: CredentialStore
  readonly guard: AgentGuard
  readonly services: Services
  readonly egress: Egress
  readonly carriers: Carriers
  readonly seal: AgentSeal
}

/** A welcome: the gateway's clock in wall-clock ms, and the round trip of its answer. */
export interface Welcomed {
  readonly gatewayTimeMs: number
  readonly rttMs: number
}

/** The agent's tunnels: dials gateways, registers, keeps as many as there are to be, and looks after them. */
export class Tunnels {
  /** A gateway let us in, and told its time; before the tunnel counts as up. */
  readonly welcomed = new Listeners<Welcomed>()
  /** A tunnel is up; with the names of all gateways that we are with. */
  readonly up = new Listeners<readonly string[]>()
  /** A tunnel is down, or did not come up. */
  readonly down = new Listeners<PosternError>()
  readonly #ports: TunnelsPorts
  readonly #directory: GatewayDirectory
  readonly #dialer: Dialer
  readonly #set: TunnelSet
  readonly #upkeep: TunnelUpkeep
  #settings: AgentSettings
  /** Made since the start: the number of one is its key. */
  #connections = 0
  /** A tunnel has been up since the start. */
  #wasUp = false

  constructor(ports: TunnelsPorts) {
    this.#ports = ports
    const { settings, ambient, store, guard, services, egress, carriers } = ports
    const { clock, logger } = ambient
    this.#settings = settings
    carriers.arrived.add(() => {
      this.hurry()
    })
    this.#directory = new GatewayDirectory(addressesOf(settings))
    const directory = this.#directory
    this.#dialer = new Dialer({
      ...{ settings, ambient, store, guard, services, egress, directory, carriers },
      onWelcome: (gatewayTimeMs, rttMs) => {
        this.welcomed.tell({ gatewayTimeMs, rttMs })
      },
    })
    this.#set = new TunnelSet({
      clock,
      directory,
      countMax: () => this.#settings['tunnel.count'],
      make: (others, onDown) => this.#make(others, onDown),
    })
    this.#upkeep = new TunnelUpkeep({
      tunnels: this.#set,
      clock,
      logger: logger.child({ component: 'tunnel' }),
      isOutdated: (facts) => this.#dialer.isOutdated(facts),
    })
  }

  start(): void {
    this.#ports.carriers.start()
    this.#set.start()
    this.#upkeep.start()
  }

  /** Running calls finish, up to the grace. */
  async drain(graceMs: number): Promise<void> {
    this.#upkeep.stop()
    await this.#set.drain(graceMs)
    await this.#ports.carriers.drain()
  }

  stop(): void {
    this.#upkeep.stop()
    this.#set.stop()
    this.#ports.carriers.stop()
  }

  get all(): readonly Tunnel[] {
    return this.#set.all
  }

  /** Those that are up, the one with the shortest round trip first. */
  get ready(): TunnelSet['ready'] {
    return this.#set.ready
  }

  /** The best tunnel, for displays that show a single one. */
  get main(): Tunnel {
    return this.#set.main
  }

  /** How many there are to be. */
  get wanted(): number {
    return this.#set.wanted
  }

  /** The address that a connection was dialled at. */
  addressOf(facts: TlsFacts): Address | undefined {
    return this.#dialer.addressOf(facts)
  }

  /** How tunnels come to gateways, for tests. */
  get dialer(): Dialer {
    return this.#dialer
  }

  /** Dials at once wherever a tunnel waits. */
  hurry(): void {
    this.#set.hurry()
  }

  /** Each goes over to another connection. Resolves to whether one did. @throws what the last one threw */
  async replace(): Promise<boolean> {
    return await this.#set.replace()
  }

  /** Takes over the addresses of gateways, and how many tunnels there are to be. */
  use(settings: AgentSettings): void {
    this.#settings = settings
    this.#directory.configure(addressesOf(settings))
    this.#set.review()
  }

  /** Closes connections to gateways that are on a list, or under a CA, that has just gone. */
  judgeGateways(): void {
    for (const connection of this.#set.connections) {
      const refusal = this.#dialer.refusalOf(connection.facts)
      if (refusal !== undefined) connection.close(refusal)
    }
  }

  /** How the tunnels are, and why the best of them was last down. */
  report(): TunnelsReport {
    const { all, main, ready, wanted } = this.#set
    const usual = this.#settings['gateway.address']
    const one = (tunnel: Tunnel): TunnelReport =>
      reportTunnel(tunnel, (facts) => this.#dialer.dialled(facts), usual)
    const { lastError, lastErrorAtMs } = main
    return {
      ways: this.#ports.carriers.report(),
      wanted,
      up: ready.length,
      main: one(main),
      all: all.map(one),
      lastError: lastError && {
        code: lastError.code,
        message: lastError.rawMessage,
        atMs: lastErrorAtMs,
      },
    }
  }

  /** Metrics of what carries the tunnels, in Prometheus' text format. */
  async carrierMetrics(): Promise<string> {
    return await this.#ports.carriers.metrics()
  }

  /** What keeps the agent from being healthy. */
  reasons(): Reason[] {
    const { all, ready, wanted } = this.#set
    const which = wanted === 1 ? 'the' : 'a'
    const found: Reason[] = all.flatMap(({ state }, index) => {
      const text = textOf(state, `${which} tunnel`)
      if (text === undefined) return []
      const isDown = ready.length === 0
      return [{ key: `tunnel ${String(index)}`, text, isDown, isDelayed: this.#wasUp }]
    })
    if (ready.length === 0 || ready.length >= wanted) return found
    const text = `${String(ready.length)} of ${String(wanted)} tunnels is up`
    return [{ key: 'tunnels', text, isDelayed: true }, ...found]
  }

  #make(others: OtherTunnels, onDown: (cause: PosternError) => void): Tunnel {
    const { settings, process, services, ambient, store, guard, seal, carriers } = this.#ports
    const { identity } = store.credential
    const { clock } = ambient
    let [upAtMs, upFacts]: [number, TlsFacts | undefined] = [0, undefined]
    const tunnel: Tunnel = new Tunnel({
      process,
      logger: ambient.logger.child({ component: 'tunnel', ...identity }),
      backoff: { minMs: settings['backoff.min'], maxMs: settings['backoff.max'] },
      dialTimeoutMs: settings['tunnel.dialTimeout'],
      stableMs: settings['backoff.stable'],
      hasAnotherWay: () => carriers.ways.hasAnother,
      dial: (signal) => this.#dialer.dial(others, signal),
      register: (connection) => this.#dialer.register(others, connection),
      onUp: () => {
        this.#wasUp = true
        if (tunnel.state.name === 'ready')
          [upAtMs, upFacts] = [clock.nowMs(), tunnel.state.connection.facts]
        this.#set.review()
        this.up.tell(this.ready.map(({ welcome }) => printable(welcome.gateway)).sort())
      },
      onDown: (cause) => {
        const isYoung = clock.nowMs() - upAtMs < settings['backoff.stable']
        if (upFacts !== undefined && isYoung) this.#dialer.fell(upFacts, cause)
        upFacts = undefined
        onDown(cause)
        this.down.tell(cause)
      },
      streamsOf: (peer) => {
        const tunnel = String(++this.#connections)
        const origin: Origin = {
          callerOf: (head, extras) => callerInHead(head, extras, peer),
          cluster: identity.cluster,
          ...(peer.role === 'gateway' ? { gateway: peer.gateway, region: peer.region } : {}),
          tunnel,
          sealed: (stream, caller) => {
            seal.take(stream, origin, caller)
          },
          onLeaving: () => {
            seal.leave(tunnel)
          },
          onClosed: () => {
            guard.guard.forget(tunnel)
          },
        }
        return services.server.streamsOf(origin)
      },
    })
    return tunnel
  }
}

function addressesOf(settings: AgentSettings): Address[] {
  return [settings['gateway.address'], ...settings['gateway.addresses']]
}

function textOf(state: TunnelState, what: string): string | undefined {
  switch (state.name) {
    case 'ready':
      return undefined
    case 'backoff': {
      const { code, rawMessage, recovery } = state.cause
      const next =
        recovery === 'give-up' ? 'this will not mend by itself; retrying slowly' : 'retrying'
      return `${what} is down: ${code}: ${rawMessage} (${next})`
    }
    default:
      return `${what} is ${state.name}`
  }
}

export type { TunnelReport } from './tunnel-report.ts'
