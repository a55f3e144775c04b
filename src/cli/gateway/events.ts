import { PosternError } from '../../base/errors.ts'
import { pause } from '../../base/pause.ts'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import { parseDuration } from '../../config/setting.ts'
import type { Records } from '../../store/records.ts'
import { withStore, type StoreTools } from './store.ts'
import {
  table,
  type Output,
  type AddCommand,
  type Surroundings,
  addStoreSettings,
} from '../program/program.ts'

const COUNT_MAX = 10_000
const FOLLOW_MS = 1000
const KIND = /^[a-z]+(\.[a-z]+|\.\*)?$/
const HEADER = ['WHEN', 'WHAT', 'ABOUT', 'SERIAL', 'BY', 'FROM', 'WHY']

interface EventArguments {
  readonly last: string
  readonly identity?: string | undefined
  readonly since?: string | undefined
  readonly kind?: readonly string[] | undefined
  readonly json: boolean
}

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
          describe: 'How many at most, counted from the end.',
        })
        .option('since', {
          type: 'string',
          requiresArg: true,
          describe:
            'Only from this time on: a span before now such as 90m or 24h, or 2026-01-31T12:00:00Z.',
        })
        .option('kind', {
          type: 'string',
          array: true,
          requiresArg: true,
          describe:
            'Only of this kind, such as certificate.revoked or token.*; one or more, may be given again.',
        })
        .option('identity', {
          type: 'string',
          requiresArg: true,
          describe: 'Only about names that hold this text.',
        })
        .option('follow', {
          type: 'boolean',
          default: false,
          describe: 'Go on with what comes, until Ctrl-C.',
        })
        .option('json', {
          type: 'boolean',
          default: false,
          describe: 'Print one JSON object a line.',
        })
        .example('$0 events --kind enrolment.refused --since 1h --follow', 'Watch who is refused.'),
    (args) => {
      done(
        withStore(args, surroundings, async (tools) => {
          const { last, rows } = await show(args, tools, surroundings.output)
          if (args.follow) await follow(args, tools, surroundings, last)
          else if (rows === 0 && !args.json) surroundings.output.note('no event is of that kind')
          return 0
        }),
      )
    },
  )

/** Prints those that are there; returns the id of the newest event, shown or not. */
async function show(
  args: EventArguments,
  { records, nowMs }: StoreTools,
  output: Output,
): Promise<{ last: number; rows: number }> {
  const count = Number(args.last)
  if (!/^\d+$/.test(args.last) || count < 1 || count > COUNT_MAX)
    throw new PosternError('USAGE', `--last must be from 1 to ${String(COUNT_MAX)}`)
  const query = selected(args, records).orderBy('id', 'desc').limit(count)
  const sinceMs = args.since === undefined ? undefined : timeOf(args.since, nowMs)
  const newest = await records.database
    .selectFrom('events')
    .select('id')
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst()
  const found = await (sinceMs === undefined ? query : query.where('at', '>=', sinceMs)).execute()
  const rows = found.reverse()
  const text = args.json ? rows.map(jsonOf).join('\n') : table(HEADER, rows.map(cellsOf))
  if (rows.length > 0) output.result(text)
  return { last: Math.max(newest?.id ?? 0, rows.at(-1)?.id ?? 0), rows: rows.length }
}

/** Events come in one order, so that what is beyond the last one is new. */
async function follow(
  args: EventArguments,
  { records, clock }: StoreTools,
  surroundings: Surroundings,
  from: number,
): Promise<void> {
  const stop = new AbortController()
  const { output } = surroundings
  const unsubscribe = surroundings.onSignal(() => {
    stop.abort()
  })
  try {
    let last = from
    while (!stop.signal.aborted) {
      const query = selected(args, records).where('id', '>', last)
      for (const row of await query.orderBy('id').limit(COUNT_MAX).execute()) {
        last = row.id
        output.result(args.json ? jsonOf(row) : cellsOf(row).filter(Boolean).join('  '))
      }
      await pause(clock, FOLLOW_MS, stop.signal)
    }
  } finally {
    unsubscribe()
  }
}

function selected({ identity, kind = [] }: EventArguments, records: Records) {
  const bad = kind.find((one) => !KIND.test(one))
  if (bad !== undefined)
    throw new PosternError('USAGE', `--kind ${bad} is not like certificate.revoked or token.*`)
  let query = records.database.selectFrom('events').selectAll()
  if (identity !== undefined) query = query.where('identity', 'like', `%${identity}%`)
  if (kind.length === 0) return query
  return query.where((where) =>
    where.or(
      kind.map((one) =>
        one.endsWith('.*')
          ? where('kind', 'like', `${one.slice(0, -1)}%`)
          : where('kind', '=', one),
      ),
    ),
  )
}

type EventRow = Awaited<ReturnType<ReturnType<typeof selected>['execute']>>[number]

function timeOf(text: string, nowMs: number): number {
  const form = 'a span such as 90m or 24h, or a time such as 2026-01-31T12:00:00Z'
  const wrong = new PosternError('USAGE', `--since ${text} is not ${form}`)
  if (/^\d{4}-\d\d-\d\d(T|$)/.test(text)) {
    const atMs = Date.parse(text)
    if (Number.isNaN(atMs)) throw wrong
    return atMs
  }
  try {
    return nowMs - parseDuration(text)
  } catch {
    throw wrong
  }
}

function jsonOf({ id: _id, at, ...row }: EventRow): string {
  return JSON.stringify({ at: new Date(at).toISOString(), ...row })
}

function cellsOf({ at, kind, identity, serial, actor, address, detail }: EventRow): string[] {
  return [
    new Date(at).toISOString(),
    kind,
    identity ?? '',
    (serial ?? '').slice(0, 12),
    actor,
    address ?? '',
    detail ?? '',
  ]
}
