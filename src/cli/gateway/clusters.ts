import { CALLER_SETTINGS } from '../../config/gateway-settings.ts'
import { clusterJson, listText, showText, withGateway } from '../caller/caller.ts'
import { command, group, type OptionTable, type Surroundings } from '../program/program.ts'
import { clustersLock, clustersUnlock } from './lock.ts'

const TIMEOUT_MS = 10_000

const JSON_TEXT = {
  json: { type: 'boolean', default: false, describe: 'Print JSON.' },
} as const satisfies OptionTable

const list = command({
  path: 'list',
  describe:
    'List the clusters: their tunnels, and the agents that are away, since when and why, where the gateway has a store.',
  settings: { table: CALLER_SETTINGS },
  options: JSON_TEXT,
  run: (args, surroundings) =>
    withGateway(args, surroundings, async (gateway) => {
      const found = await gateway.listClusters({ timeoutMs: TIMEOUT_MS, away: true })
      const json = (): string => JSON.stringify(found.map(clusterJson), null, 2)
      surroundings.output.result(args.json ? json() : listText(found, nowMs(surroundings)))
      return 0
    }),
})

const show = command({
  path: 'show <cluster>',
  describe:
    'Show one cluster: its tunnels, agents and their machines, services with health, methods, and the last errors.',
  settings: { table: CALLER_SETTINGS },
  options: {
    ...JSON_TEXT,
    cluster: { type: 'string', required: true, describe: 'Name of the cluster.' },
  },
  run: (args, surroundings) =>
    withGateway(args, surroundings, async (gateway) => {
      const found = await gateway.getCluster(args.cluster, { timeoutMs: TIMEOUT_MS })
      const json = (): string => JSON.stringify(clusterJson(found), null, 2)
      surroundings.output.result(args.json ? json() : showText(found, nowMs(surroundings)))
      return 0
    }),
})

function nowMs(surroundings: Surroundings): number {
  return surroundings.ambient('error', 'gateway').clock.wallMs()
}

/** `gateway clusters`: who is connected, and who is locked out. */
export const gatewayClusters = group({
  path: 'clusters',
  describe: 'Show the connected clusters, and lock one out.',
  commands: [list, show, clustersLock, clustersUnlock],
})
