import { resolve } from 'node:path'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import { withStore } from './store.ts'
import { type AddCommand, addStoreSettings } from '../program/program.ts'

/** `gateway store`: the file that the gateway's records are in. */
export const gatewayStore: AddCommand = (yargs, surroundings, done) =>
  yargs.command('store', 'Back up the store of certificates, revocations and tokens.', (y) =>
    backup(y, surroundings, done).demandCommand(1, 'Name it: backup.'),
  )

const backup: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'backup <file>',
    'Write a whole copy of the store to a new file, while the gateway runs.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS).positional('file', {
        type: 'string',
        demandOption: true,
        describe: 'Where to. Nothing that is there is replaced.',
      }),
    (args) => {
      const run = withStore(args, surroundings, async ({ records }) => {
        const file = resolve(args.file)
        await records.backup(file)
        surroundings.output.result(
          `the store is copied to ${file}; back up ca.directory with it, as each needs the other`,
        )
        return 0
      })
      done(run)
    },
  )
