import { printable } from '../../base/errors.ts'
import { Gateway } from '../../gen/postern/v1/gateway_pb.js'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { KIND } from '../../wire/open-head.ts'
import type { Asked } from '../roles/roles.ts'
import { RpcError } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import type { AgentTunnel, Away, ClusterBook, Registry } from '../clusters/clusters.ts'

/** What a caller may know of clusters, by the context of its call. */
export interface CallerView {
  sees(context: CallContext, cluster: string): boolean
  mayUse(context: CallContext, asked: Asked): boolean
}

/** postern.v1.Gateway: what the gateway knows of its fleet. */
export function gatewayOffers(
  registry: Registry,
  book: ClusterBook | undefined,
  view: CallerView,
): Offer[] {
  const awayOf = async (cluster?: string): Promise<{ agents: Away[]; leftOut: number }> => {
    const { agents, leftOut } = (await book?.away(cluster)) ?? { agents: [], leftOut: 0 }
    // One that came back a moment ago stands in the store as away still.
    return { agents: agents.filter((one) => !isConnected(registry, one)), leftOut }
  }
  const listClusters = async (
    { away }: { readonly away: boolean },
    context: CallContext,
  ): Promise<object> => {
    const found = away ? await awayOf() : { agents: [], leftOut: 0 }
    const agents = found.agents.filter(({ cluster }) => view.sees(context, cluster))
    // How many there are beside those that are told is nothing for who may not see all.
    const leftOut = agents.length === found.agents.length ? found.leftOut : 0
    const names = [
      ...new Set([...registry.clusters.keys(), ...agents.map((one) => one.cluster)]),
    ].filter((name) => view.sees(context, name))
    const clusters = names.sort().map((name) => ({
      name,
      tunnels: (registry.clusters.get(name) ?? []).map(outline),
      away: agents.filter(({ cluster }) => cluster === name),
    }))
    return { clusters, awayLeftOut: leftOut }
  }
  const getCluster = async (
    { name }: { readonly name: string },
    context: CallContext,
  ): Promise<object> => {
    const isSeen = view.sees(context, name)
    const tunnels = (isSeen ? registry.clusters.get(name) : undefined) ?? []
    const { agents: away } = isSeen ? await awayOf(name) : { agents: [] }
    if (tunnels.length === 0 && away.length === 0)
      throw new RpcError('NOT_FOUND', `cluster ${printable(name)} is not connected`)
    const errors = registry.errors.of(name).map((error) => ({
      ...error,
      atMs: BigInt(Math.round(error.atMs)),
    }))
    const mayUse = (kind: number, offer: string): boolean =>
      view.mayUse(context, { cluster: name, name: offer, kind })
    return { name, tunnels: tunnels.map((one) => describe(one, mayUse)), errors, away }
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

function describe(tunnel: AgentTunnel, mayUse: (kind: number, name: string) => boolean): object {
  const { hello, report } = tunnel
  const methods = hello.methods.filter(({ name }) => mayUse(KIND.unary, name))
  const services = hello.services.filter(({ name }) => mayUse(KIND.forward, name))
  const offered = { methods, services }
  if (report === undefined) return { ...outline(tunnel), ...offered }
  return {
    ...outline(tunnel),
    ...offered,
    health: report.services.filter(({ name }) => mayUse(KIND.forward, name)),
    ...(report.capacity === undefined ? {} : { capacity: report.capacity }),
    ...(report.posture === undefined ? {} : { posture: report.posture }),
    heartbeatAtMs: BigInt(Math.round(report.atMs)),
  }
}
