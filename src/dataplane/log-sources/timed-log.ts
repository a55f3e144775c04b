import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import { lineOf } from '../log-lines.ts'
import type { LogSource, LogStep, TailWish } from '../log-source.ts'
import type { LogsRules, TimedRules } from '../logs-row.ts'
import { TimedPlace, type TimedEntry } from './timed-place.ts'

const NS_PER_MS = 1_000_000n

/** One span of one log that is asked for, from a moment on and before another. */
export interface TimedAsk {
  readonly fromNs: bigint
  readonly toNs: bigint
  /** Of the page before; undefined: the first. */
  readonly token: string | undefined
  readonly signal: AbortSignal
}

/** Entries in their order, and what the next page of the span is asked with. */
export interface TimedPage {
  readonly entries: readonly TimedEntry[]
  readonly next: string | undefined
  /** There are more of one moment than it tells: some are left out behind these. */
  readonly hasGap?: boolean
}

/** One log of a source that keeps entries with their times. */
export interface TimedPages {
  /** Which it is: cursors are good for it alone. */
  readonly log: string
  /** Whether a page begins with the moment in which the one before ended, rather than behind its last entry. */
  readonly doOverlap: boolean
  page(ask: TimedAsk): Promise<TimedPage>
  /** The newest so many before a moment, in their order. */
  last(count: number, ask: Omit<TimedAsk, 'token'>): Promise<readonly TimedEntry[]>
}

/** A source that is asked, span by span, for what it keeps. */
export interface TimedBackend {
  /** @throws RpcError LOG_UNKNOWN */
  open(labels: Readonly<Record<string, string>>): TimedPages
}

/** Logs of a source that keeps entries with their times: told in order, each once, and again from a cursor. */
export class TimedLogs implements LogSource {
  readonly dropsItself = false
  readonly #backend: TimedBackend
  readonly #rules: LogsRules & TimedRules
  readonly #clock: Clock

  constructor(backend: TimedBackend, rules: LogsRules & TimedRules, clock: Clock) {
    this.#backend = backend
    this.#rules = rules
    this.#clock = clock
  }

  async *tail(wish: TailWish): AsyncGenerator<LogStep> {
    const pages = this.#backend.open(wish.labels)
    const known = TimedPlace.read(wish.cursor, pages.log)
    const oldestNs = this.#oldestNs()
    const place = known ?? new TimedPlace(this.#beginning(wish, oldestNs))
    // Nobody goes back further by a cursor than the customer's row reaches.
    if (place.timeNs < oldestNs) {
      place.moveTo(oldestNs)
      yield { kind: 'gap', bytes: 0, cursor: place.write(pages.log) }
    }
    if (known === undefined && wish.last > 0) yield* this.#last(pages, place, wish)
    for (;;) {
      const toMs = Math.min(wish.untilMs ?? Infinity, this.#clock.wallMs() - this.#rules.settleMs)
      const toNs = BigInt(Math.floor(toMs)) * NS_PER_MS
      if (toNs > place.timeNs) yield* this.#span(pages, place, toNs, wish)
      const hasAll = wish.untilMs !== undefined && toMs >= wish.untilMs
      if (!wish.follow || hasAll || wish.signal.aborted) return
      await pause(this.#clock, this.#rules.lookMs, wish.signal)
    }
  }

  /** @throws RpcError QUERY_REFUSED */
  #beginning({ sinceMs }: TailWish, oldestNs: bigint): bigint {
    const sinceNs = sinceMs === undefined ? oldestNs : BigInt(Math.floor(sinceMs)) * NS_PER_MS
    if (sinceNs < oldestNs)
      throw rpcErrorOfCode('QUERY_REFUSED', 'since lies further back than the row of logs reaches')
    return sinceNs
  }

  #oldestNs(): bigint {
    const oldestMs = Math.max(0, this.#clock.wallMs() - this.#rules.reachMs)
    return BigInt(Math.floor(oldestMs)) * NS_PER_MS
  }

  async *#last(
    pages: TimedPages,
    place: TimedPlace,
    { last, untilMs, signal }: TailWish,
  ): AsyncGenerator<LogStep> {
    const toMs = Math.min(untilMs ?? Infinity, this.#clock.wallMs() - this.#rules.settleMs)
    const toNs = BigInt(Math.floor(toMs)) * NS_PER_MS
    if (toNs <= place.timeNs) return
    const entries = await pages.last(last, { fromNs: place.timeNs, toNs, signal })
    // What lies before them is none of what was asked for.
    const [first] = entries
    if (first !== undefined) place.timeNs = first.timeNs
    if (entries.length > 0) yield this.#told(pages, place, entries)
  }

  async *#span(
    pages: TimedPages,
    place: TimedPlace,
    toNs: bigint,
    { signal }: TailWish,
  ): AsyncGenerator<LogStep> {
    const fromNs = place.timeNs
    const ask = { fromNs, toNs, signal }
    // What was told of the moment in which it begins comes once more, and once in all.
    const told = place.copy()
    for (let token: string | undefined; ;) {
      const { entries, next, hasGap = false } = await pages.page({ ...ask, token })
      const fresh = pages.doOverlap
        ? place.fresh(entries)
        : entries.filter((entry) => told.take(entry))
      if (fresh.length > 0) yield this.#told(pages, place, fresh)
      if (hasGap) {
        place.moveTo(place.timeNs + 1n)
        yield { kind: 'gap', bytes: 0, cursor: place.write(pages.log) }
      }
      if (next === undefined || signal.aborted) return
      token = next
    }
  }

  #told(pages: TimedPages, place: TimedPlace, entries: readonly TimedEntry[]): LogStep {
    const before = place.copy()
    const { lineBytesMax } = this.#rules
    for (const entry of entries) place.advance(entry)
    const lines = entries.map(({ text, timeNs }) => ({
      ...lineOf(text.replace(/\r?\n$/, ''), lineBytesMax),
      timeMs: Number(timeNs / NS_PER_MS),
    }))
    const cursorBehind = (count: number): string => {
      const behind = before.copy()
      for (const entry of entries.slice(0, count)) behind.advance(entry)
      return behind.write(pages.log)
    }
    return { kind: 'lines', lines, cursorBehind }
  }
}

/** Times in RFC 3339, to the nanosecond; undefined: it is none. */
export function readNanos(text: string): bigint | undefined {
  const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text)
  const [, seconds = '', fraction = '', zone = ''] = found ?? []
  const ms = Date.parse(`${seconds}${zone}`)
  if (found === null || Number.isNaN(ms) || ms < 0) return undefined
  return BigInt(ms) * NS_PER_MS + BigInt(fraction.padEnd(9, '0'))
}

/** Writes a time in RFC 3339, to the nanosecond. */
export function writeNanos(timeNs: bigint): string {
  const seconds = new Date(Number(timeNs / 1_000_000_000n) * 1000).toISOString().slice(0, 19)
  return `${seconds}.${String(timeNs % 1_000_000_000n).padStart(9, '0')}Z`
}
