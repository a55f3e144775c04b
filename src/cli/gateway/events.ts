import { PosternError } from '../../base/errors.ts'
import { pause } from '../../base/pause.ts'
import { parseDuration } from '../../config/setting.ts'
import {
  eventsAfter,
  lastEvents,
  type EventFilter,
  type EventRow,
  type StoreTools,
} from '../../gateway/operations/operations.ts'
import { STORE_SETTINGS, withStore } from '../gateway-access/gateway-access.ts'
import { table, type Output, type Surroundings, command } from '../program/program.ts'

const FOLLOW_MS = 1000
const HEADER = ['WHEN', 'WHAT', 'ABOUT', 'SERIAL', 'BY', 'FROM', 'WHY']

interface EventArguments {
  readonly last: string
  readonly identity?: string | undefined
  readonly since?: string | undefined
  readonly kind?: readonly string[] | undefined
  readonly json: boolean
}

/** `gateway events`: everything issued, renewed, refused and revoked. */
export const gatewayEvents = command({
  path: 'events',
  describe:
    'Show what was issued, renewed, refused, revoked and changed: by whom, from where, when.',
  settings: STORE_SETTINGS,
  options: {
    last: { type: 'string', default: '50', describe: 'How many at most, counted from the end.' },
    since: {
      type: 'string',
      describe:
        'Only from this time on: a span before now such as 90m or 24h, or 2026-01-31T12:00:00Z.',
    },
    kind: {
      type: 'strings',
      describe:
        'Only of this kind, such as certificate.revoked or token.*; one or more, may be given again.',
    },
    identity: { type: 'string', describe: 'Only about names that hold this text.' },
    follow: { type: 'boolean', default: false, describe: 'Go on with what comes, until Ctrl-C.' },
    json: { type: 'boolean', default: false, describe: 'Print one JSON object a line.' },
  },
  examples: [['$0 events --kind enrolment.refused --since 1h --follow', 'Watch who is refused.']],
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, { nowMs }) => {
      const { last, rows } = await show(args, tools, nowMs, surroundings.output)
      if (args.follow) await follow(args, tools, surroundings, last)
      else if (rows === 0 && !args.json) surroundings.output.note('no event is of that kind')
      return 0
    }),
})

/** Prints those that are there; returns the id of the newest event, shown or not. */
async function show(
  args: EventArguments,
  tools: StoreTools,
  nowMs: number,
  output: Output,
): Promise<{ last: number; rows: number }> {
  const count = /^\d+$/.test(args.last) ? Number(args.last) : Number.NaN
  const sinceMs = args.since === undefined ? undefined : timeOf(args.since, nowMs)
  const { rows, newestId } = await lastEvents(tools, filterOf(args), count, sinceMs)
  const text = args.json ? rows.map(jsonOf).join('\n') : table(HEADER, rows.map(cellsOf))
  if (rows.length > 0) output.result(text)
  return { last: newestId, rows: rows.length }
}

function filterOf({ identity, kind }: EventArguments): EventFilter {
  return { identity, kinds: kind }
}

/** Prints what comes, until a signal. */
async function follow(
  args: EventArguments,
  tools: StoreTools,
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
      for (const row of await eventsAfter(tools, filterOf(args), last)) {
        last = row.id
        output.result(args.json ? jsonOf(row) : cellsOf(row).filter(Boolean).join('  '))
      }
      await pause(tools.clock, FOLLOW_MS, stop.signal)
    }
  } finally {
    unsubscribe()
  }
}

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
    // It is neither a time nor a span.
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
