import { parseAddress } from '../../base/address.ts'
import { PosternError } from '../../base/errors.ts'
import { CALLER_SETTINGS, type CallerSettings } from '../../config/gateway-settings.ts'
import { isLoopback } from '../../config/plaintext.ts'
import { LocalApi, type LocalPlace } from '../../transport/api-local.ts'
import { command, type ArgumentsOf, type Surroundings } from '../program/program.ts'
import { callerRenewal } from './forward.ts'
import { ProxyCalls } from './proxy-calls.ts'
import { SEAL_OPTIONS, sealOf } from './seal.ts'
import { callerSettings, withGateways } from './with-gateway.ts'

const OPTIONS = {
  listen: {
    type: 'string',
    default: '127.0.0.1:0',
    describe:
      'Where programs on this machine call: 127.0.0.1:PORT, or unix:/PATH. Whoever reaches it calls as you.',
  },
  cluster: {
    type: 'string',
    describe: 'Cluster of calls that name none by postern-cluster.',
  },
  ...SEAL_OPTIONS,
  json: { type: 'boolean', default: false, describe: 'Print the address as a JSON object.' },
} as const

/** `gateway proxy`: gRPC, gRPC-Web and Connect for programs on this machine, sealed where it is asked for. */
export const gatewayProxy = command({
  path: 'proxy',
  describe:
    'Take calls by gRPC, gRPC-Web and Connect from programs on this machine, in any language, and make them as you, until SIGTERM or SIGINT. With --sealed no gateway can read or alter them.',
  settings: { table: CALLER_SETTINGS },
  options: OPTIONS,
  examples: [
    [
      '$0 proxy --listen 127.0.0.1:9095 --cluster eu-1',
      'Then: grpcurl -plaintext 127.0.0.1:9095 …',
    ],
    [
      '$0 proxy --listen unix:/run/postern/api.sock --sealed --pin sha256:…',
      'Sealed calls for a program that knows nothing of sealing.',
    ],
  ],
  run: async (args, surroundings) => {
    const settings = callerSettings(args, surroundings)
    placeOf(args.listen)
    // What is known to be wrong is told now, not at the first call.
    const { cluster, sealed, pin } = args
    if (cluster !== undefined || !sealed || pin.length > 0)
      sealOf({ ...args, cluster: cluster ?? '' }, settings)
    return await withGateways(settings, surroundings, async (gateways) => {
      const { clock } = surroundings.ambient('error', 'gateway')
      const calls = new ProxyCalls({
        ...{ gateways, clock, cluster: args.cluster, settings },
        sealFor: (cluster) => sealOf({ ...args, cluster }, settings),
        onFault: (text) => {
          surroundings.output.note(`gateway: ${text}`)
        },
      })
      return await serve(args, settings, calls, surroundings)
    })
  },
})

/** Lasts until a signal: gateways may come and go, and certificates be renewed. */
async function serve(
  { listen, json }: ArgumentsOf<typeof OPTIONS>,
  settings: CallerSettings,
  calls: ProxyCalls,
  surroundings: Surroundings,
): Promise<number> {
  const { output } = surroundings
  const { clock } = surroundings.ambient('error', 'gateway')
  const local = new LocalApi(placeOf(listen), clock, (exchange) => {
    calls.serve(exchange)
  })
  const renewal = callerRenewal(settings, surroundings)
  renewal?.start()
  try {
    const bound = await local.listen()
    const where = bound === undefined ? listen : `${bound.address}:${String(bound.port)}`
    output.result(
      json
        ? JSON.stringify(bound === undefined ? { path: listen } : { ...bound })
        : `taking calls at ${where}`,
    )
    return await new Promise<number>((resolve) => {
      const unsubscribe = surroundings.onSignal(() => {
        unsubscribe()
        resolve(0)
      })
    })
  } finally {
    renewal?.stop()
    local.close()
  }
}

/** Whoever reaches it calls with our certificate: it is for this machine alone. @throws USAGE */
function placeOf(text: string): LocalPlace {
  if (text.startsWith('unix:/')) return { path: text.slice('unix:'.length) }
  let address
  try {
    address = parseAddress(text, 0)
  } catch (error) {
    throw new PosternError('USAGE', `--listen ${(error as Error).message}, or unix:/PATH`)
  }
  if (isLoopback(address.host)) return { address }
  throw new PosternError(
    'USAGE',
    '--listen is for this machine alone: 127.0.0.1:PORT or unix:/PATH',
  )
}
