import { readRecord } from '../../audit/read-record.ts'
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
    const last: { n: number; text: string }[] = []
    await since(directory, 0, (n, text) => {
      last.push({ n, text })
      if (last.length > count) last.shift()
    })
    for (const { text } of last) surroundings.output.result(text)
    if (args.follow) await follow(directory, last.at(-1)?.n ?? 0, surroundings)
    return 0
  },
})

/** Prints what is written after a line, as it is written, until a signal. */
async function follow(directory: string, from: number, surroundings: Surroundings): Promise<void> {
  const stop = new AbortController()
  const unsubscribe = surroundings.onSignal(() => {
    stop.abort()
  })
  const { clock } = surroundings.ambient('error', 'audit')
  let n = from
  try {
    while (!stop.signal.aborted) {
      await pause(clock, FOLLOW_MS, stop.signal, true)
      await since(directory, n, (number, text) => {
        n = number
        surroundings.output.result(text)
      })
    }
  } finally {
    unsubscribe()
  }
}

async function since(
  directory: string,
  after: number,
  onLine: (n: number, text: string) => void,
): Promise<void> {
  for await (const placed of readRecord(directory)) {
    const { n } = numbered(placed) ?? {}
    if (typeof n === 'number' && n > after) onLine(n, placed.bytes.toString())
  }
}
