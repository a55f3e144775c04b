import { PosternError } from '../../base/errors.ts'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import { listCertificates } from '../../gateway/ca/ca.ts'
import { isLabel } from '../../identity/name.ts'
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
      const run = withStore(args, surroundings, async ({ denials, records, actor, nowMs }) => {
        const cluster = judged(args.cluster)
        if (denials.isLocked(cluster)) {
          surroundings.output.result(`cluster ${cluster} is locked already`)
          return 0
        }
        const known = await listCertificates({ cluster }, records.database)
        if (known.length === 0)
          surroundings.output.note(`warning: no certificate was ever issued to cluster ${cluster}`)
        const order = { reason: args.reason.slice(0, 200), actor, nowMs }
        await denials.deny({ kind: 'lock', cluster }, order)
        surroundings.output.result(`cluster ${cluster} is locked`)
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
      const run = withStore(args, surroundings, async ({ denials, actor, nowMs }) => {
        const cluster = judged(args.cluster)
        await denials.unlock(cluster, { reason: 'unlocked', actor, nowMs })
        surroundings.output.result(`cluster ${cluster} is unlocked`)
        return 0
      })
      done(run)
    },
  )

function judged(cluster: string): string {
  if (isLabel(cluster)) return cluster
  throw new PosternError('USAGE', 'a cluster is named by 1 to 63 of a-z, 0-9 and inner hyphens')
}
