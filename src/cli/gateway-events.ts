import { PosternError } from '../base/errors.ts'
import { GATEWAY_SETTINGS } from '../config/gateway-settings.ts'
import { withStore } from './gateway-store.ts'
import { table } from './output.ts'
import type { AddCommand } from './program.ts'
import { addStoreSettings } from './settings-options.ts'

const COUNT_MAX = 10_000

/** `gateway events`: everything issued, renewed, refused and revoked. */
export const gatewayEvents: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'events',
    'Show what was issued, renewed, refused, revoked and changed: by whom, from where, when.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS)
        .option('last', {
          type: 'string',
          default: '50',
          requiresArg: true,
          describe: 'How many, counted from the end.',
        })
        .option('identity', {
          type: 'string',
          requiresArg: true,
          describe: 'Only about names that hold this text.',
        })
        .option('json', {
          type: 'boolean',
          default: false,
          describe: 'Print one JSON object a line.',
        }),
    (args) => {
      const run = withStore(args, surroundings, async ({ records }) => {
        const count = Number(args.last)
        if (!/^\d+$/.test(args.last) || count < 1 || count > COUNT_MAX)
          throw new PosternError('USAGE', `--last must be from 1 to ${String(COUNT_MAX)}`)
        let query = records.database
          .selectFrom('events')
          .selectAll()
          .orderBy('id', 'desc')
          .limit(count)
        if (args.identity !== undefined)
          query = query.where('identity', 'like', `%${args.identity}%`)
        const rows = (await query.execute()).reverse().map(({ at, id: _id, ...row }) => ({
          at: new Date(at).toISOString(),
          ...row,
        }))
        surroundings.output.result(
          args.json
            ? rows.map((row) => JSON.stringify(row)).join('\n')
            : table(
                ['WHEN', 'WHAT', 'ABOUT', 'SERIAL', 'BY', 'FROM', 'WHY'],
                rows.map(({ at, kind, identity, serial, actor, address, detail }) => [
                  at,
                  kind,
                  identity ?? '',
                  (serial ?? '').slice(0, 12),
                  actor,
                  address ?? '',
                  detail ?? '',
                ]),
              ),
        )
        return 0
      })
      done(run)
    },
  )
