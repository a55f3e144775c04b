import { resolve } from 'node:path'
import { STORE_SETTINGS, withStore } from '../gateway-access/gateway-access.ts'
import { command, group } from '../program/program.ts'

const backup = command({
  path: 'backup <file>',
  describe: 'Write a whole copy of the store to a new file, while the gateway runs.',
  settings: STORE_SETTINGS,
  options: {
    file: {
      type: 'string',
      required: true,
      describe: 'Where to. Nothing that is there is replaced.',
    },
  },
  run: (args, surroundings) =>
    withStore(args, surroundings, async ({ records }) => {
      const file = resolve(args.file)
      await records.backup(file)
      surroundings.output.result(
        `the store is copied to ${file}; back up ca.directory with it, as each needs the other`,
      )
      return 0
    }),
})

/** `gateway store`: the file that the gateway's records are in. */
export const gatewayStore = group({
  path: 'store',
  describe: 'Back up the store of certificates, revocations and tokens.',
  commands: [backup],
})
