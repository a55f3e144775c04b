import { lockCluster, unlockCluster } from '../../gateway/operations/operations.ts'
import { STORE_SETTINGS, withStore } from '../gateway-access/gateway-access.ts'
import { command } from '../program/program.ts'

/** `gateway clusters lock`: holds a cluster off until it is unlocked. */
export const clustersLock = command({
  path: 'lock <cluster>',
  describe:
    'Cut the tunnels of a cluster and let none of its agents in, enroll or renew, until unlock.',
  settings: STORE_SETTINGS,
  options: {
    cluster: { type: 'string', required: true, describe: 'Its name.' },
    reason: {
      type: 'string',
      default: 'no reason given',
      describe: 'For the records, and for whoever is refused.',
    },
  },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, operator) => {
      const { cluster, reason } = args
      const found = await lockCluster(tools, cluster, { ...operator, reason })
      if (!found.isKnown && !found.wasLocked)
        surroundings.output.note(`warning: no certificate was ever issued to cluster ${cluster}`)
      surroundings.output.result(`cluster ${cluster} is locked${found.wasLocked ? ' already' : ''}`)
      return 0
    }),
})

/** `gateway clusters unlock`. */
export const clustersUnlock = command({
  path: 'unlock <cluster>',
  describe: 'Let the agents of a cluster in again, with the certificates that they have.',
  settings: STORE_SETTINGS,
  options: { cluster: { type: 'string', required: true, describe: 'Its name.' } },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, operator) => {
      await unlockCluster(tools, args.cluster, operator)
      surroundings.output.result(`cluster ${args.cluster} is unlocked`)
      return 0
    }),
})
