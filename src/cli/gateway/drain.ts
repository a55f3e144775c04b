import { parseAnswer } from '../../base/local-answer.ts'
import { PosternError } from '../../base/errors.ts'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import type { GatewayStatus } from '../../gateway/control/control.ts'
import { askLocal } from '../../transport/local-socket.ts'
import { SOCKET_OPTIONS, type SocketArguments } from '../place/place.ts'
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
const GONE = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE']

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
    const status = await ask(socketPath(args, surroundings), 'status')
    surroundings.output.result(args.json ? JSON.stringify(status) : statusText(status))
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
    const first = await ask(path, 'drain')
    if (args.wait) await follow(path, first, surroundings)
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

/** Says what is left until nobody answers any more. */
async function follow(path: string, first: GatewayStatus, { output }: Surroundings): Promise<void> {
  let said = ''
  for (let status = first; ;) {
    const { tunnels, streams } = status
    const text = `draining: ${String(tunnels)} tunnels, ${String(streams)} running calls`
    if (text !== said) output.note(text)
    said = text
    // Another one has taken its place.
    if (status.startedAt !== first.startedAt) return
    try {
      status = await ask(path, 'watch')
    } catch (error) {
      if (hasGone(error)) return
      throw error
    }
  }
}

/** Nobody listens any more, or it hung up: not that it is slow to answer. */
function hasGone(error: unknown): boolean {
  if (!(error instanceof PosternError) || error.code !== 'DAEMON_NOT_RUNNING') return false
  const { cause } = error.facts
  return cause === undefined || GONE.includes(String(cause))
}

async function ask(path: string, order: string): Promise<GatewayStatus> {
  return parseAnswer(await askLocal(path, order)) as GatewayStatus
}

function statusText(status: GatewayStatus): string {
  const { certificate, buffers, tunnels, clusters, agents } = status
  const nowMs = Date.parse(certificate.notAfter) - certificate.expiresInMs
  const rows: [string, string][] = [
    ['gateway', `${status.identity} (version ${status.version})`],
    ['health', [status.health, ...status.reasons].join('; ')],
    ...status.warnings.map((text): [string, string] => ['warning', text]),
    ['up', humanSpan(nowMs - Date.parse(status.startedAt))],
    ['tunnels', `${String(tunnels)} of ${String(agents)} agents in ${String(clusters)} clusters`],
    ['callers', `${String(status.callers)} connections, ${String(status.streams)} running calls`],
    ['relayed', `${String(status.relayed)} since the start`],
    ['buffers', `${humanBytes(buffers.reservedBytes)} of ${humanBytes(buffers.bytesMax)}`],
    [
      'certificate',
      `valid until ${certificate.notAfter} (${humanSpan(certificate.expiresInMs)} left)`,
    ],
  ]
  return rows.map(([name, value]) => `${name.padEnd(12)} ${value}`).join('\n')
}
