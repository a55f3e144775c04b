import type { ErrorCode } from '../../base/errors.ts'
import type { RpcConnection } from '../../tunnel/rpc-connection.ts'
import { FEATURE_SEALED } from '../../wire/hello.ts'
import { KIND } from '../../wire/open-head.ts'
import { unknownCluster } from '../roles/roles.ts'
import type { AgentHello } from './hello.ts'
import type { CallRecord } from './call-record.ts'
import type { CanaryResult } from './canary-result.ts'
import { ClusterErrors } from './cluster-errors.ts'
import type { HeartbeatReport } from './heartbeats.ts'

/** The gateway's record of one registered tunnel of an agent: its connection, hello, relays, canary and last heartbeat. */
export interface AgentTunnel {
  readonly cluster: string
  readonly agent: string
  readonly connection: RpcConnection
  readonly hello: AgentHello
  /** Drawn by the agent's process at its start; empty from earlier versions. */
  readonly instance: string
  /** Of the trust bundle that the agent holds. */
  bundleVersion: number
  /** Streams that are relayed into it, by caller. */
  readonly relays: Map<string, number>
  /** How calls into it fare. */
  readonly record: CallRecord
  canary: CanaryResult
  /** What the agent last said of its services; undefined: nothing yet. */
  report: HeartbeatReport | undefined
  /** A tunnel under a later certificate of the same agent is there: this one gets no new streams. */
  isOutdated: boolean
}

/** What a stream asks of the tunnel that it is to go into. */
export interface Wanted {
  readonly cluster: string
  /** Method, or service of a forward. */
  readonly name: string
  /** As in the head of OPEN. */
  readonly kind: number
  readonly nowMs: number
  /** Features that the agent's HELLO must have, as bits. */
  readonly needs?: bigint
  /** Tunnels that did not take it. */
  readonly tried?: readonly AgentTunnel[]
}

/** Why no tunnel takes a stream. */
export interface NoTunnel {
  readonly code: ErrorCode
  readonly text: string
}

/** Round trips below this are the same: what they differ by is chance. */
const RTT_MS_MIN = 5

/** The connected clusters in numbers. */
export interface ClustersReport {
  readonly tunnels: number
  readonly agents: number
  /** Tunnels by cluster, by name. */
  readonly tunnelsOf: ReadonlyMap<string, number>
  /** Tunnels whose last canary call failed. */
  readonly canariesFailing: number
  /** Of the slowest tunnel, there and back, in ms; undefined before the first. */
  readonly canaryMsMax: number | undefined
  /** Services that agents say are down. */
  readonly servicesDown: number
}

/** Which clusters are connected, by which tunnels. */
export class Registry {
  readonly errors = new ClusterErrors()
  readonly #clusters = new Map<string, AgentTunnel[]>()
  #turn = 0

  add(tunnel: AgentTunnel): void {
    const tunnels = this.#clusters.get(tunnel.cluster)
    if (tunnels === undefined) this.#clusters.set(tunnel.cluster, [tunnel])
    else tunnels.push(tunnel)
    this.#judgeAges(tunnel.cluster, tunnel.agent)
  }

  /** Undefined: it was not registered. */
  remove(cluster: string, connection: RpcConnection): AgentTunnel | undefined {
    const tunnels = this.#clusters.get(cluster) ?? []
    const index = tunnels.findIndex((tunnel) => tunnel.connection === connection)
    if (index === -1) return undefined
    const [removed] = tunnels.splice(index, 1)
    if (tunnels.length === 0) this.#clusters.delete(cluster)
    else if (removed !== undefined) this.#judgeAges(cluster, removed.agent)
    return removed
  }

  /** Of one agent's tunnels only those under its latest certificate are current. */
  #judgeAges(cluster: string, agent: string): void {
    const own = this.#clusters.get(cluster)?.filter((tunnel) => tunnel.agent === agent) ?? []
    const endOf = ({ connection }: AgentTunnel): number => connection.facts.certificateNotAfterMs
    const latest = Math.max(...own.map(endOf))
    for (const tunnel of own) tunnel.isOutdated = endOf(tunnel) < latest
  }

  /**
   * The tunnel for a stream: open, of those that offer what is called where some do, and where calls do
   * not fail; then the one with the least to wait for, by streams and round trip; equals take turns.
   */
  pick(wanted: Wanted): AgentTunnel | NoTunnel {
    const { cluster, tried } = wanted
    const all = this.#clusters.get(cluster) ?? []
    const [only] = all
    if (all.length === 1 && only?.connection.session.isOpen === true && tried === undefined)
      return unfit(only, wanted) ?? only
    const open = all.filter(
      (tunnel) => tunnel.connection.session.isOpen && tried?.includes(tunnel) !== true,
    )
    if (open.length === 0) return unknownCluster(cluster)
    const { nowMs } = wanted
    const up = open.filter((tunnel) => unfit(tunnel, wanted) === undefined)
    const [first] = open
    if (up.length === 0 && first !== undefined) return unfit(first, wanted) as NoTunnel
    const current = prefer(up, ({ isOutdated }) => !isOutdated)
    const able = prefer(current, ({ hello }) => offers(hello, wanted))
    return this.#best(prefer(able, ({ record }) => !record.isEjected(nowMs)))
  }

  #best(tunnels: readonly AgentTunnel[]): AgentTunnel {
    const from = this.#turn++ % tunnels.length
    let best = tunnels[from] as AgentTunnel
    let bestCost = costOf(best)
    for (let i = 1; i < tunnels.length; i++) {
      const tunnel = tunnels[(from + i) % tunnels.length] as AgentTunnel
      const cost = costOf(tunnel)
      if (cost < bestCost) [best, bestCost] = [tunnel, cost]
    }
    return best
  }

  /** The connected clusters in numbers. */
  report(): ClustersReport {
    const tunnels = [...this.#clusters.values()].flat()
    const latencies = tunnels.flatMap(({ canary }) => canary.latencyMs ?? [])
    const sorted = [...this.#clusters].sort(([a], [b]) => (a < b ? -1 : 1))
    return {
      tunnels: tunnels.length,
      agents: new Set(tunnels.map(({ cluster, agent }) => `${cluster}/${agent}`)).size,
      tunnelsOf: new Map(sorted.map(([cluster, { length }]) => [cluster, length])),
      canariesFailing: tunnels.filter(({ canary }) => canary.failures > 0).length,
      canaryMsMax: latencies.length === 0 ? undefined : Math.max(...latencies),
      servicesDown: tunnels.reduce((sum, { report }) => sum + (report?.down.size ?? 0), 0),
    }
  }

  get clusters(): ReadonlyMap<string, readonly AgentTunnel[]> {
    return this.#clusters
  }

  get tunnelCount(): number {
    let count = 0
    for (const tunnels of this.#clusters.values()) count += tunnels.length
    return count
  }
}

/** Tells a tunnel from the reason that there is none. */
export function isTunnel(found: AgentTunnel | NoTunnel): found is AgentTunnel {
  return 'connection' in found
}

/** Those that are better, or all where none is. */
function prefer(
  tunnels: readonly AgentTunnel[],
  isBetter: (tunnel: AgentTunnel) => boolean,
): readonly AgentTunnel[] {
  const better = tunnels.filter(isBetter)
  return better.length === 0 ? tunnels : better
}

function offers({ methodNames, serviceNames }: AgentHello, { name, kind }: Wanted): boolean {
  return (kind === KIND.forward ? serviceNames : methodNames).has(name)
}

const UNSEALED: NoTunnel = {
  code: 'METHOD_UNKNOWN',
  text: 'the agents of this cluster are of a version that takes no sealed sessions',
}

const TOO_OLD: NoTunnel = {
  code: 'METHOD_UNKNOWN',
  text: 'the agents of this cluster are of a version that knows no callers by their tokens',
}

/** Why a tunnel cannot take a stream: its service is down there, or it takes none of the kind. */
function unfit(
  { report, connection }: AgentTunnel,
  { name, kind, needs = 0n }: Wanted,
): NoTunnel | undefined {
  if (needs !== 0n && !connection.session.peerHas(needs)) return TOO_OLD
  if (kind === KIND.sealed) return connection.session.peerHas(FEATURE_SEALED) ? undefined : UNSEALED
  const reason = kind === KIND.forward ? report?.down.get(name) : undefined
  if (reason === undefined) return undefined
  return { code: 'SERVICE_DOWN', text: `service ${name} is down: ${reason}` }
}

function costOf({ connection: { session } }: AgentTunnel): number {
  return (session.streamCount + 1) * Math.max(session.rttMs ?? RTT_MS_MIN, RTT_MS_MIN)
}
