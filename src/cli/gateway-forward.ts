import { parseAddress } from '../config/address.ts'
import { CALLER_SETTINGS } from '../config/gateway-settings.ts'
import { TcpListener } from '../transport/tcp-listen.ts'
import { withGateway } from './caller.ts'
import type { AddCommand } from './program.ts'
import { addSettings } from './settings-options.ts'

/** `gateway forward CLUSTER SERVICE --listen HOST:PORT`. */
export const gatewayForward: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'forward <cluster> <service>',
    'Make a named service of a cluster a local TCP port, until SIGTERM or SIGINT.',
    (y) =>
      addSettings(y, CALLER_SETTINGS)
        .positional('cluster', {
          type: 'string',
          demandOption: true,
          describe: 'Name of the cluster.',
        })
        .positional('service', {
          type: 'string',
          demandOption: true,
          describe: "Name of the service in the agent's settings.",
        })
        .option('listen', {
          type: 'string',
          default: '127.0.0.1:0',
          requiresArg: true,
          describe:
            'Local address; port 0 takes a free one. Whoever reaches it uses the service as you.',
        })
        .option('json', {
          type: 'boolean',
          default: false,
          describe: 'Print the address as a JSON object.',
        })
        .example(
          '$0 forward eu-1 prometheus --listen 127.0.0.1:9090',
          'Reach a Prometheus in a data plane.',
        ),
    (args) => {
      const { output } = surroundings
      const forward = withGateway(args, surroundings, async (gateway) => {
        const cluster = gateway.cluster(args.cluster)
        const listener = new TcpListener((socket) => {
          void cluster.forward(args.service, socket).then((code) => {
            if (code !== undefined)
              output.note(`gateway: a connection to ${args.service} ended: ${code}`)
          })
        })
        const { address, port } = await listener.listen(parseAddress(args.listen, 0))
        output.result(
          args.json
            ? JSON.stringify({ address, port })
            : `forwarding ${address}:${String(port)} to ${args.service} of ${args.cluster}`,
        )
        const ended = new Promise<number>((resolve) => {
          const unsubscribe = surroundings.onSignal(() => {
            unsubscribe()
            resolve(0)
          })
        })
        const lost = gateway.closed.then((error) => {
          throw error
        })
        try {
          return await Promise.race([ended, lost])
        } finally {
          listener.close()
        }
      })
      done(forward)
    },
  )
