import { printable } from '../../base/errors.ts'
import { Gateway } from '../../gen/postern/v1/gateway_pb.js'
import type { Offer } from '../../rpc/service.ts'
import { RpcError } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import type { AgentTunnel, Registry } from '../clusters/clusters.ts'

/** postern.v1.Gateway: what the gateway knows of its fleet. */
export function gatewayOffers(registry: Registry): Offer[] {
  const listClusters = (): { clusters: object[] } => ({
    clusters: [...registry.clusters]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, tunnels]) => ({ name, tunnels: tunnels.map(outline) })),
  })
  const getCluster = ({ name }: { readonly name: string }): object => {
    const tunnels = registry.clusters.get(name)
    if (tunnels === undefined)
      throw new RpcError('NOT_FOUND', `cluster ${printable(name)} is not connected`)
    const errors = registry.errors.of(name).map((error) => ({
      ...error,
      atMs: BigInt(Math.round(error.atMs)),
    }))
    return { name, tunnels: tunnels.map(describe), errors }
  }
  return offersOf(Gateway, { listClusters, getCluster })
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
    heartbeatAtMs: BigInt(Math.round(report.atMs)),
  }
}
