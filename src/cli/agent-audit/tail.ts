import { readRecord, type Position } from '../../audit/read-record.ts'
import { pause } from '../../base/pause.ts'
import { command, type Surroundings } from '../program/program.ts'
import { numbered, placeOf, RECORD_OPTIONS } from './place.ts'

const FOLLOW_MS = 500
const LINES = 20

/** `agent audit tail`: the last lines of the record. */
export const auditTail = command({
  path: 'tail',
  describe: 'Print the last lines of the record, each a JSON object.',
  options: {
    ...RECORD_OPTIONS,
    lines: { type: 'string', default: String(LINES), describe: 'How many.' },
    follow: {
      type: 'boolean',
      default: false,
      describe: 'Go on with those that come, until Ctrl-C.',
    },
  },
  run: async (args, surroundings) => {
    const { directory } = placeOf(args, surroundings)
    const count = /^\d{1,6}$/.test(args.lines) ? Number(args.lines) : LINES
    const last: string[] = []
    let from: Position = { segment: 0, offset: 0 }
    from = await readOn(directory, from, (text) => {
      last.push(text)
      if (last.length > count) last.shift()
    })
    for (const text of last) surroundings.output.result(text)
    if (args.follow) await follow(directory, from, surroundings)
    return 0
  },
})

/** Prints what is written after a position, as it is written, until a signal. */
async function follow(
  directory: string,
  start: Position,
  surroundings: Surroundings,
): Promise<void> {
  const stop = new AbortController()
  const unsubscribe = surroundings.onSignal(() => {
    stop.abort()
  })
  const { clock } = surroundings.ambient('error', 'audit')
  let from = start
  try {
    while (!stop.signal.aborted) {
      await pause(clock, FOLLOW_MS, stop.signal, true)
      from = await readOn(directory, from, (text) => {
        surroundings.output.result(text)
      })
    }
  } finally {
    unsubscribe()
  }
}

/** Tells each numbered line from a position on. Returns where to read on: behind the last line that was whole. */
async function readOn(
  directory: string,
  from: Position,
  onLine: (text: string) => void,
): Promise<Position> {
  let at = from
  for await (const placed of readRecord(directory, from)) {
    if (placed.isWhole) at = { segment: placed.segment.number, offset: placed.next }
    if (numbered(placed) !== undefined) onLine(placed.bytes.toString())
  }
  return at
}
