import { create } from '@bufbuild/protobuf'
import { PosternError } from '../../base/errors.ts'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import {
  Admin,
  GatewayStatusSchema,
  GatewayStatus_BuffersSchema,
  GatewayStatus_CertificateSchema,
  type GatewayStatus,
} from '../../gen/postern/v1/admin_pb.js'
import { HUNG_UP } from '../../tunnel/local-rpc.ts'
import {
  ASK_MS,
  askDaemon,
  messageJson,
  SOCKET_OPTIONS,
  type SocketArguments,
} from '../place/place.ts'
import {
  humanBytes,
  JSON_OPTION,
  humanSpan,
  type Surroundings,
  settingsOf,
  command,
} from '../program/program.ts'

/** The path of the gateway's socket where no setting names another. */
export const GATEWAY_SOCKET = '/run/postern/gateway.sock'
const UNHEALTHY = 1

function socketPath(args: SocketArguments, { environment }: Surroundings): string {
  const explicit = args.socket ?? args['status-socket']
  if (explicit !== undefined) return explicit
  const place = { 'status.socket': GATEWAY_SETTINGS['status.socket'] }
  const { values } = settingsOf(place, { config: args.config }, environment, true)
  return values['status.socket'] ?? GATEWAY_SOCKET
}

/** `gateway status`: is it in order, and what does it carry. */
export const gatewayStatus = command({
  path: 'status',
  describe:
    'Show what the daemon carries. Exit 0: healthy, 1: degraded or draining, 3: no daemon runs.',
  options: { ...JSON_OPTION, ...SOCKET_OPTIONS },
  run: async (args, surroundings) => {
    const path = socketPath(args, surroundings)
    const status = await askDaemon(Admin, path, surroundings, (gateway) =>
      gateway.status({}, { timeoutMs: ASK_MS }),
    )
    const json = (): string => JSON.stringify(messageJson(GatewayStatusSchema, status))
    surroundings.output.result(args.json ? json() : statusText(status))
    return status.health === 'healthy' ? 0 : UNHEALTHY
  },
})

/** `gateway drain`: as SIGTERM, from a shell. */
export const gatewayDrain = command({
  path: 'drain',
  describe:
    'Let running calls finish, send agents and callers elsewhere, and stop the daemon. Exit 0: it has stopped; 3: no daemon runs.',
  options: {
    wait: {
      type: 'boolean',
      default: true,
      describe: 'Wait until it has stopped; --no-wait gives the order and returns.',
    },
    ...JSON_OPTION,
    ...SOCKET_OPTIONS,
  },
  run: async (args, surroundings) => {
    const path = socketPath(args, surroundings)
    await drain(path, args.wait, surroundings)
    surroundings.output.result(
      args.json
        ? JSON.stringify({ draining: true, stopped: args.wait })
        : args.wait
          ? 'the gateway has stopped'
          : 'the gateway drains',
    )
    return 0
  },
})

/** Gives the order, and where `isToWait` says what is left until nobody answers any more. */
async function drain(path: string, isToWait: boolean, surroundings: Surroundings): Promise<void> {
  let said = ''
  try {
    await askDaemon(Admin, path, surroundings, async (gateway) => {
      for await (const { tunnels, streams } of gateway.drain({})) {
        if (!isToWait) return
        const text = `draining: ${String(tunnels)} tunnels, ${String(streams)} running calls`
        if (text !== said) surroundings.output.note(text)
        said = text
      }
    })
  } catch (error) {
    // That it has gone is what was asked of it; that it is slow to answer, or was never there, is not.
    const hasGone = error instanceof PosternError && error.facts.cause === HUNG_UP
    if (!hasGone || said === '') throw error
  }
}

function statusText(status: GatewayStatus): string {
  const { tunnels, clusters, agents } = status
  const certificate = status.certificate ?? create(GatewayStatus_CertificateSchema)
  const buffers = status.buffers ?? create(GatewayStatus_BuffersSchema)
  const nowMs = Date.parse(certificate.notAfter) - certificate.expiresInMs
  const rows: [string, string][] = [
    ['gateway', `${status.identity} (version ${status.version})`],
    ['health', [status.health, ...status.reasons].join('; ')],
    ...status.warnings.map((text): [string, string] => ['warning', text]),
    ['up', humanSpan(nowMs - Date.parse(status.startedAt))],
    ['tunnels', `${String(tunnels)} of ${String(agents)} agents in ${String(clusters)} clusters`],
    ['callers', `${String(status.callers)} connections, ${String(status.streams)} running calls`],
    ['relayed', `${String(status.relayed)} since the start`],
    ...status.fronts.map(({ address, waiting, accepted, failure }): [string, string] => [
      'front',
      `${address}: ${failure ?? (waiting ? 'waits for its agent to begin' : 'is dialled')}; ${String(accepted)} tunnels came this way`,
    ]),
    ['buffers', `${humanBytes(buffers.reservedBytes)} of ${humanBytes(buffers.bytesMax)}`],
    [
      'certificate',
      `valid until ${certificate.notAfter} (${humanSpan(certificate.expiresInMs)} left)`,
    ],
  ]
  return rows.map(([name, value]) => `${name.padEnd(12)} ${value}`).join('\n')
}
