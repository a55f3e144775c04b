import type { Argv } from 'yargs'
import { CALLER_SETTINGS } from '../../config/gateway-settings.ts'
import { clusterJson, listText, showText, withGateway } from '../caller/caller.ts'
import { type AddCommand, addSettings } from '../program/program.ts'
import { clustersLock, clustersUnlock } from './lock.ts'

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
        'Show one cluster: its tunnels, agents and their machines, services with health, methods, and the last errors.',
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
