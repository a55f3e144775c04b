import type { Argv } from 'yargs'
import { CALLER_SETTINGS } from '../config/gateway-settings.ts'
import type { AgentTunnel, Cluster } from '../gen/postern/v1/gateway_pb.js'
import { withGateway } from './caller.ts'
import { clustersLock, clustersUnlock } from './gateway-lock.ts'
import { humanSpan, table } from './output.ts'
import type { AddCommand } from './program.ts'
import { addSettings } from './settings-options.ts'

const TIMEOUT_MS = 10_000

/** `gateway clusters list` and `gateway clusters show NAME`. */
export const gatewayClusters: AddCommand = (yargs, surroundings, done) => {
  const nowMs = (): number => surroundings.ambient('error', 'gateway').clock.wallMs()
  return yargs.command('clusters', 'Show the connected clusters, and lock one out.', (y) =>
    [clustersLock, clustersUnlock]
      .reduce((group, add) => add(group, surroundings, done), y)
      .command(
        'list',
        'List the connected clusters and their tunnels.',
        (inner) => withJson(addSettings(inner, CALLER_SETTINGS)),
        (args) => {
          const list = withGateway(args, surroundings, async (gateway) => {
            const found = await gateway.listClusters({ timeoutMs: TIMEOUT_MS })
            const json = (): string => JSON.stringify(found.map(clusterJson), null, 2)
            surroundings.output.result(args.json ? json() : listText(found, nowMs()))
            return 0
          })
          done(list)
        },
      )
      .command(
        'show <cluster>',
        'Show one cluster: its tunnels, and the methods and services that they offer.',
        (inner) =>
          withJson(addSettings(inner, CALLER_SETTINGS)).positional('cluster', {
            type: 'string',
            demandOption: true,
            describe: 'Name of the cluster.',
          }),
        (args) => {
          const show = withGateway(args, surroundings, async (gateway) => {
            const found = await gateway.getCluster(args.cluster, { timeoutMs: TIMEOUT_MS })
            const json = (): string => JSON.stringify(clusterJson(found), null, 2)
            surroundings.output.result(args.json ? json() : showText(found, nowMs()))
            return 0
          })
          done(show)
        },
      )
      .demandCommand(1, 'Name one of: list, show, lock, unlock.'),
  )
}

function withJson<T>(yargs: Argv<T>): Argv<T & { json: boolean }> {
  return yargs.option('json', { type: 'boolean', default: false, describe: 'Print JSON.' })
}

const TUNNEL_HEADER = ['AGENT', 'VERSION', 'ADDRESS', 'UP', 'RTT', 'STREAMS', 'CERT']

function tunnelCells(tunnel: AgentTunnel, nowMs: number): string[] {
  return [
    tunnel.agent,
    tunnel.agentVersion,
    tunnel.address,
    humanSpan(nowMs - Number(tunnel.connectedAtMs)),
    tunnel.rttMs === undefined ? '-' : `${tunnel.rttMs.toFixed(1)} ms`,
    String(tunnel.streams),
    humanSpan(Number(tunnel.certificateNotAfterMs) - nowMs),
  ]
}

function listText(clusters: readonly Cluster[], nowMs: number): string {
  if (clusters.length === 0) return 'no cluster is connected'
  const rows = clusters.flatMap(({ name, tunnels }) =>
    tunnels.map((tunnel) => [name, ...tunnelCells(tunnel, nowMs), String(tunnel.serviceCount)]),
  )
  return table(['CLUSTER', ...TUNNEL_HEADER, 'SERVICES'], rows)
}

function showText({ name, tunnels }: Cluster, nowMs: number): string {
  const offers = tunnels.flatMap(({ agent, methods, services }) => [
    ...services.map((service) => [agent, 'service', service.name, service.dataType]),
    ...methods.map((method) => [agent, method.kind, method.name, method.dataType]),
  ])
  const tunnelTable = table(
    TUNNEL_HEADER,
    tunnels.map((tunnel) => tunnelCells(tunnel, nowMs)),
  )
  return `cluster ${name}\n\n${tunnelTable}\n\n${table(['AGENT', 'KIND', 'NAME', 'DATA TYPE'], offers)}`
}

function clusterJson({ name, tunnels }: Cluster): object {
  return { name, tunnels: tunnels.map(tunnelJson) }
}

function tunnelJson(tunnel: AgentTunnel): object {
  const iso = (ms: bigint): string => new Date(Number(ms)).toISOString()
  const { agent, agentVersion, address, rttMs, streams, methodCount, serviceCount } = tunnel
  const offers = {
    methods: tunnel.methods.map(({ name, kind, dataType }) => ({ name, kind, dataType })),
    services: tunnel.services.map(({ name, dataType }) => ({ name, dataType })),
  }
  return {
    agent,
    agentVersion,
    address,
    connectedAt: iso(tunnel.connectedAtMs),
    rttMs: rttMs ?? null,
    streams,
    certificateNotAfter: iso(tunnel.certificateNotAfterMs),
    methodCount,
    serviceCount,
    // The list leaves them out: a fleet's worth would not fit one message.
    ...(methodCount + serviceCount === offers.methods.length + offers.services.length
      ? offers
      : {}),
  }
}
