import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import { lockCluster, unlockCluster } from '../../gateway/operations/operations.ts'
import { withStore } from './store.ts'
import { type AddCommand, addStoreSettings } from '../program/program.ts'

/** `gateway clusters lock`: holds a cluster off until it is unlocked. */
export const clustersLock: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'lock <cluster>',
    'Cut the tunnels of a cluster and let none of its agents in, enroll or renew, until unlock.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS)
        .positional('cluster', { type: 'string', demandOption: true, describe: 'Its name.' })
        .option('reason', {
          type: 'string',
          default: 'no reason given',
          requiresArg: true,
          describe: 'For the records, and for whoever is refused.',
        }),
    (args) => {
      const run = withStore(args, surroundings, async (tools, operator) => {
        const { cluster, reason } = args
        const found = await lockCluster(tools, cluster, { ...operator, reason })
        if (!found.isKnown && !found.wasLocked)
          surroundings.output.note(`warning: no certificate was ever issued to cluster ${cluster}`)
        surroundings.output.result(
          `cluster ${cluster} is locked${found.wasLocked ? ' already' : ''}`,
        )
        return 0
      })
      done(run)
    },
  )

/** `gateway clusters unlock`. */
export const clustersUnlock: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'unlock <cluster>',
    'Let the agents of a cluster in again, with the certificates that they have.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS).positional('cluster', {
        type: 'string',
        demandOption: true,
        describe: 'Its name.',
      }),
    (args) => {
      const run = withStore(args, surroundings, async (tools, operator) => {
        await unlockCluster(tools, args.cluster, operator)
        surroundings.output.result(`cluster ${args.cluster} is unlocked`)
        return 0
      })
      done(run)
    },
  )
