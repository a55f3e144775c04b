import { CALLER_SETTINGS, GATEWAY_SETTINGS } from '../config/gateway-settings.ts'
import { Gateway } from '../gateway/gateway.ts'
import type { Cluster } from '../gen/postern/v1/gateway_pb.js'
import { withGateway } from './caller.ts'
import { configCommand } from './config-command.ts'
import { untilSignal } from './daemon.ts'
import { gatewayCall } from './gateway-call.ts'
import { gatewayForward } from './gateway-forward.ts'
import { humanSpan, table } from './output.ts'
import type { AddCommand } from './program.ts'
import { addSettings, settingsOf } from './settings-options.ts'

const run: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'run',
    'Run the daemon: take tunnels from agents and calls from services, until SIGTERM.',
    (y) => addSettings(y, GATEWAY_SETTINGS),
    (args) => {
      const start = async (): Promise<number> => {
        const { values } = settingsOf(GATEWAY_SETTINGS, args, surroundings.environment)
        const ambient = surroundings.ambient(values['log.level'], 'gateway')
        const gateway = new Gateway(values, ambient)
        await gateway.start()
        return await untilSignal(gateway, ambient.logger, surroundings)
      }
      done(start())
    },
  )

const clusters: AddCommand = (yargs, surroundings, done) =>
  yargs.command('clusters', 'Show the connected clusters.', (y) =>
    y
      .command(
        'list',
        'List the connected clusters and their tunnels.',
        (inner) =>
          addSettings(inner, CALLER_SETTINGS).option('json', {
            type: 'boolean',
            default: false,
            describe: 'Print a JSON array.',
          }),
        (args) => {
          const list = withGateway(args, surroundings, async (gateway) => {
            const found = await gateway.listClusters({ timeoutMs: 10_000 })
            const nowMs = surroundings.ambient('error', 'gateway').clock.wallMs()
            surroundings.output.result(args.json ? clustersJson(found) : clustersText(found, nowMs))
            return 0
          })
          done(list)
        },
      )
      .demandCommand(1, 'Name one of: list.'),
  )

function clustersText(clusters_: readonly Cluster[], nowMs: number): string {
  if (clusters_.length === 0) return 'no cluster is connected'
  const rows = clusters_.flatMap(({ name, tunnels }) =>
    tunnels.map((tunnel) => [
      name,
      tunnel.agent,
      tunnel.agentVersion,
      tunnel.address,
      humanSpan(nowMs - Number(tunnel.connectedAtMs)),
      tunnel.rttMs === undefined ? '-' : `${tunnel.rttMs.toFixed(1)} ms`,
      String(tunnel.streams),
      humanSpan(Number(tunnel.certificateNotAfterMs) - nowMs),
      tunnel.services.map((service) => service.name).join(',') || '-',
    ]),
  )
  return table(
    ['CLUSTER', 'AGENT', 'VERSION', 'ADDRESS', 'UP', 'RTT', 'STREAMS', 'CERT', 'SERVICES'],
    rows,
  )
}

function clustersJson(found: readonly Cluster[]): string {
  const iso = (ms: bigint): string => new Date(Number(ms)).toISOString()
  const plain = found.map(({ name, tunnels }) => ({
    name,
    tunnels: tunnels.map(
      ({
        agent,
        agentVersion,
        address,
        connectedAtMs,
        rttMs,
        streams,
        certificateNotAfterMs,
        methods,
        services,
      }) => ({
        agent,
        agentVersion,
        address,
        connectedAt: iso(connectedAtMs),
        rttMs: rttMs ?? null,
        streams,
        certificateNotAfter: iso(certificateNotAfterMs),
        methods: methods.map((method) => ({
          name: method.name,
          kind: method.kind,
          dataType: method.dataType,
        })),
        services: services.map((service) => ({ name: service.name, dataType: service.dataType })),
      }),
    ),
  }))
  return JSON.stringify(plain, null, 2)
}

export const GATEWAY_COMMANDS: readonly AddCommand[] = [
  run,
  gatewayCall,
  gatewayForward,
  clusters,
  configCommand(GATEWAY_SETTINGS, (values, ambient) => new Gateway(values, ambient)),
]
