import { printable } from '../../base/errors.ts'
import { Gateway } from '../../gen/postern/v1/gateway_pb.js'
import type { Offer } from '../../rpc/service.ts'
import { RpcError } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import type { AgentTunnel, Away, ClusterBook, Registry } from '../clusters/clusters.ts'

/** postern.v1.Gateway: what the gateway knows of its fleet. */
export function gatewayOffers(registry: Registry, book: ClusterBook | undefined): Offer[] {
  const awayOf = async (cluster?: string): Promise<{ agents: Away[]; leftOut: number }> => {
    const { agents, leftOut } = (await book?.away(cluster)) ?? { agents: [], leftOut: 0 }
    // One that came back a moment ago stands in the store as away still.
    return { agents: agents.filter((one) => !isConnected(registry, one)), leftOut }
  }
  const listClusters = async ({ away }: { readonly away: boolean }): Promise<object> => {
    const { agents, leftOut } = away ? await awayOf() : { agents: [], leftOut: 0 }
    const names = [...new Set([...registry.clusters.keys(), ...agents.map((one) => one.cluster)])]
    const clusters = names.sort().map((name) => ({
      name,
      tunnels: (registry.clusters.get(name) ?? []).map(outline),
      away: agents.filter(({ cluster }) => cluster === name),
    }))
    return { clusters, awayLeftOut: leftOut }
  }
  const getCluster = async ({ name }: { readonly name: string }): Promise<object> => {
    const tunnels = registry.clusters.get(name) ?? []
    const { agents: away } = await awayOf(name)
    if (tunnels.length === 0 && away.length === 0)
      throw new RpcError('NOT_FOUND', `cluster ${printable(name)} is not connected`)
    const errors = registry.errors.of(name).map((error) => ({
      ...error,
      atMs: BigInt(Math.round(error.atMs)),
    }))
    return { name, tunnels: tunnels.map(describe), errors, away }
  }
  return offersOf(Gateway, { listClusters, getCluster })
}

function isConnected(registry: Registry, { cluster, agent }: Away): boolean {
  return registry.clusters.get(cluster)?.some((tunnel) => tunnel.agent === agent) === true
}

function outline({ agent, connection, hello, report, canary }: AgentTunnel): object {
  const { facts, session } = connection
  return {
    agent,
    agentVersion: hello.agentVersion,
    address: facts.address,
    connectedAtMs: BigInt(Math.round(connection.connectedAtMs)),
    ...(session.rttMs === undefined ? {} : { rttMs: session.rttMs }),
    streams: session.streamCount,
    certificateNotAfterMs: BigInt(facts.certificateNotAfterMs),
    methodCount: hello.methods.length,
    serviceCount: hello.services.length,
    ...(canary.latencyMs === undefined ? {} : { canaryMs: canary.latencyMs }),
    canaryFailures: canary.failures,
    downCount: report?.down.size ?? 0,
    isLockedDown: report?.isLockedDown ?? false,
    lockdownReason: report?.lockdownReason ?? '',
    ...(report && { recordLines: report.recordLines, recordHead: report.recordHead }),
  }
}

function describe(tunnel: AgentTunnel): object {
  const { methods, services } = tunnel.hello
  const { report } = tunnel
  const offered = { methods: [...methods], services: [...services] }
  if (report === undefined) return { ...outline(tunnel), ...offered }
  return {
    ...outline(tunnel),
    ...offered,
    health: [...report.services],
    ...(report.capacity === undefined ? {} : { capacity: report.capacity }),
    ...(report.posture === undefined ? {} : { posture: report.posture }),
    heartbeatAtMs: BigInt(Math.round(report.atMs)),
  }
}
