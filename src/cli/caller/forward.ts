import { parseAddress } from '../../base/address.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import type { GatewayPool } from '../../caller/gateway-pool.ts'
import { CALLER_SETTINGS, type CallerSettings } from '../../config/gateway-settings.ts'
import { TcpListener } from '../../transport/tcp-listen.ts'
import { callerSettings, withGateways } from './with-gateway.ts'
import { SEAL_OPTIONS, sealOf, USER_OPTION, userTokenOf } from './seal.ts'
import { CallerRenewal } from './renewal.ts'
import { type Surroundings, command } from '../program/program.ts'

const LOOK_MS_MAX = 10_000

/** `gateway forward CLUSTER SERVICE --listen HOST:PORT`. */
export const gatewayForward = command({
  path: 'forward <cluster> <service>',
  describe: 'Make a named service of a cluster a local TCP port, until SIGTERM or SIGINT.',
  settings: { table: CALLER_SETTINGS },
  options: {
    cluster: { type: 'string', required: true, describe: 'Name of the cluster.' },
    service: {
      type: 'string',
      required: true,
      describe: "Name of the service in the agent's settings.",
    },
    listen: {
      type: 'string',
      default: '127.0.0.1:0',
      describe:
        'Local address; port 0 takes a free one. Whoever reaches it uses the service as you.',
    },
    ...SEAL_OPTIONS,
    ...USER_OPTION,
    json: { type: 'boolean', default: false, describe: 'Print the address as a JSON object.' },
  },
  examples: [
    ['$0 forward eu-1 prometheus --listen 127.0.0.1:9090', 'Reach a Prometheus in a data plane.'],
  ],
  run: async (args, surroundings) => {
    const settings = (): CallerSettings => callerSettings(args, surroundings)

    const read = settings()
    return await withGateways(read, surroundings, (gateways) =>
      run(args, read, gateways, surroundings),
    )
  },
})

interface ForwardArguments {
  readonly cluster: string
  readonly service: string
  readonly listen: string
  readonly sealed: boolean
  readonly pin: readonly string[]
  readonly 'user-token-file'?: string | undefined
  readonly json: boolean
}

/** Lasts until a signal: gateways may come and go, and certificates be renewed, here or elsewhere. */
async function run(
  args: ForwardArguments,
  settings: CallerSettings,
  gateways: GatewayPool,
  surroundings: Surroundings,
): Promise<number> {
  const { output } = surroundings
  const { cluster: name, service, listen, json } = args
  const seal = sealOf(args, settings)
  userTokenOf(args)
  // Whoever has misspelt a name is told now, not at the first connection.
  const { tunnels } = await gateways.getCluster(name, { timeoutMs: LOOK_MS_MAX })
  const offered = [...new Set(tunnels.flatMap((tunnel) => tunnel.services.map((one) => one.name)))]
  if (!offered.includes(service))
    throw new PosternError(
      'METHOD_UNKNOWN',
      `cluster ${name} offers no service ${service}; it has ${offered.sort().join(', ') || 'none'}`,
    )
  const cluster = gateways.cluster(name, seal)
  const listener = new TcpListener((socket) => {
    // The file is read for each: tokens are short-lived, and somebody else renews it.
    cluster.forward(service, socket, userTokenOf(args)).catch((error: unknown) => {
      output.note(`gateway: a connection to ${service} ended: ${asPosternError(error).code}`)
    })
  })
  const renewal = callerRenewal(settings, surroundings)
  renewal?.start()
  try {
    const { address, port } = await listener.listen(parseAddress(listen, 0))
    output.result(
      json
        ? JSON.stringify({ address, port })
        : `forwarding ${address}:${String(port)} to ${service} of ${name}`,
    )
    return await new Promise<number>((resolve) => {
      const unsubscribe = surroundings.onSignal(() => {
        unsubscribe()
        resolve(0)
      })
    })
  } finally {
    renewal?.stop()
    listener.close()
  }
}

/** Renews the certificate of a command that lasts, where its settings say where; undefined: they do not. */
export function callerRenewal(
  settings: CallerSettings,
  surroundings: Surroundings,
): CallerRenewal | undefined {
  const { output } = surroundings
  const renewUrl = settings['identity.renewUrl']
  if (renewUrl === undefined) return undefined
  return new CallerRenewal({
    files: {
      certificateFile: settings['identity.certificateFile'],
      keyFile: settings['identity.keyFile'],
      bundleFile: settings['identity.bundleFile'],
    },
    renewUrl: new URL(renewUrl),
    trustDomain: settings.trustDomain,
    clock: surroundings.ambient('error', 'gateway').clock,
    onRenewed: (notAfterMs) => {
      output.note(
        `gateway: the certificate is renewed, until ${new Date(notAfterMs).toISOString()}`,
      )
    },
    onFailed: ({ message }) => {
      output.note(`gateway: the certificate could not be renewed: ${message}`)
    },
  })
}
