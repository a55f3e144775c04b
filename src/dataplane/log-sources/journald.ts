import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { PosternError } from '../../base/errors.ts'
import { cursorInvalid, packCursor, unpackCursor } from '../log-cursor.ts'
import { fillAll } from '../log-labels.ts'
import { lineOf, LineSplitter, type LogLine } from '../log-lines.ts'
import type { LogSource, LogStep, TailWish } from '../log-source.ts'
import type { JournaldLogsRow } from '../logs-row.ts'

const VERSION = 4
const LAST_MAX = 100_000
/** Of an entry as JSON: each byte of one that is no text takes up to four characters. */
const ENTRY_BYTES_MAX = 1024 * 1024
/** As systemd writes them (journal-file.h). */
const CURSOR =
  /^s=[0-9a-f]{32};i=[0-9a-f]{1,16};b=[0-9a-f]{32};m=[0-9a-f]{1,16};t=[0-9a-f]{1,16};x=[0-9a-f]{1,16}$/
/** Nothing of the agent's own environment is its to see. */
const ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' }

interface Entry {
  readonly cursor: string
  readonly line: LogLine
}

/** The journal of systemd, by its own reader. */
export class Journald implements LogSource {
  readonly dropsItself = false
  readonly #row: JournaldLogsRow

  constructor(row: JournaldLogsRow) {
    this.#row = row
  }

  async *tail(wish: TailWish): AsyncGenerator<LogStep> {
    // Its program takes a time that ends before it begins for a mistake.
    if (isEmpty(wish)) return
    const match = [...fillAll(this.#row.match, wish.labels)].map(
      ([name, value]) => `${name}=${value}`,
    )
    const log = match.join('\0')
    const from = readPlace(wish.cursor, log)
    let isFirst = true
    for await (const entries of this.#read([...this.#options(wish, from), ...match], wish.signal)) {
      const [first] = entries
      if (isFirst && from !== undefined) {
        // It begins with the very entry, so that one sees whether that is still there.
        if (first?.cursor === from) entries.shift()
        else yield { kind: 'gap', bytes: 0, cursor: wish.cursor }
      }
      isFirst = false
      if (entries.length > 0) yield told(entries, log)
    }
  }

  #options({ sinceMs, untilMs, last, follow }: TailWish, from: string | undefined): string[] {
    const { directory } = this.#row
    return [
      ...['--output=json', '--output-fields=MESSAGE', '--all', '--no-pager', '--quiet'],
      ...(directory === undefined ? [] : [`--directory=${directory}`]),
      ...(from === undefined ? [] : [`--cursor=${from}`]),
      ...(from === undefined && sinceMs !== undefined ? [`--since=${secondsOf(sinceMs)}`] : []),
      ...(untilMs === undefined || follow ? [] : [`--until=${secondsOf(untilMs + 1000)}`]),
      // In one that is followed, ten are the default.
      `--lines=${from === undefined && last > 0 ? String(Math.min(last, LAST_MAX)) : 'all'}`,
      ...(follow ? ['--follow'] : []),
    ]
  }

  /** Entries as they come; as many at once as one piece of its output holds. */
  async *#read(args: readonly string[], signal: AbortSignal): AsyncGenerator<Entry[], void> {
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore']
    const reader = spawn('journalctl', args, { env: ENVIRONMENT, stdio, signal })
    const ended = once(reader, 'close').catch((error: unknown) => [error])
    const splitter = new LineSplitter(ENTRY_BYTES_MAX)
    try {
      for await (const piece of reader.stdout as AsyncIterable<Buffer>) {
        const entries = splitter.push(piece).flatMap((line) => this.#entryOf(line))
        if (entries.length > 0) yield entries
      }
    } finally {
      reader.kill()
    }
    const [end] = (await ended) as unknown[]
    if (end === 0 || signal.aborted) return
    const text = end instanceof Error ? 'journalctl cannot be run' : 'journalctl has failed'
    throw new PosternError('BACKEND_UNREACHABLE', text)
  }

  #entryOf({ text, isCut }: LogLine): Entry[] {
    // One of over a mebibyte is none that a line could be made of.
    if (isCut) return []
    try {
      const entry = JSON.parse(text) as Record<string, unknown>
      const { MESSAGE: message, __CURSOR: cursor, __REALTIME_TIMESTAMP: time } = entry
      if (typeof cursor !== 'string') return []
      const said = Array.isArray(message) ? Buffer.from(message as number[]).toString() : message
      const line = lineOf(typeof said === 'string' ? said : '', this.#row.lineBytesMax)
      return [{ cursor, line: { ...line, timeMs: Math.floor(Number(time) / 1000) } }]
    } catch {
      // Its reader was cut off.
      return []
    }
  }
}

function told(entries: readonly Entry[], log: string): LogStep {
  const cursorBehind = (count: number): string => {
    const cursor = entries[Math.max(0, count - 1)]?.cursor ?? ''
    return packCursor(log, [VERSION, cursor])
  }
  return { kind: 'lines', lines: entries.map(({ line }) => line), cursorBehind }
}

/** @throws RpcError CURSOR_INVALID */
function readPlace(cursor: string, log: string): string | undefined {
  const fields = unpackCursor(cursor, log, VERSION)
  if (fields === undefined) return undefined
  const [, place] = fields
  if (typeof place === 'string' && CURSOR.test(place)) return place
  throw cursorInvalid()
}

/** Whether nothing lies between its times. */
function isEmpty({ sinceMs, untilMs, follow }: TailWish): boolean {
  return !follow && sinceMs !== undefined && untilMs !== undefined && untilMs < sinceMs
}

function secondsOf(ms: number): string {
  return `@${String(Math.max(0, Math.floor(ms / 1000)))}`
}
