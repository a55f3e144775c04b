import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
import { cursorInvalid, isCount, packCursor, unpackCursor } from '../log-cursor.ts'
import { LabelValues } from '../log-labels.ts'
import { LineSplitter, type LogLine } from '../log-lines.ts'
import type { LogSource, LogStep, TailWish } from '../log-source.ts'
import type { ObjectsLogsRow } from '../logs-row.ts'
import type { StoreBackend, StoredObject } from '../objects/objects.ts'
import type { ObjectReader } from './object-reader.ts'

const VERSION = 3
const LOOK_MS = 5000
const KEY_MAX = 1024
const LAST_MAX = 10_000

interface Place {
  readonly key: string
  readonly offset: number
}

/** Logs that were put into an object store, told in the order of their keys. */
export class ObjectLogs implements LogSource {
  readonly dropsItself = false
  readonly #row: ObjectsLogsRow
  readonly #store: StoreBackend
  readonly #reader: ObjectReader
  readonly #clock: Clock

  constructor(
    row: ObjectsLogsRow,
    {
      store,
      reader,
      clock,
    }: { readonly store: StoreBackend; readonly reader: ObjectReader; readonly clock: Clock },
  ) {
    this.#row = row
    this.#store = store
    this.#reader = reader
    this.#clock = clock
  }

  async *tail(wish: TailWish): AsyncGenerator<LogStep> {
    const { labels, cursor, last, follow, signal } = wish
    const values = new LabelValues(labels)
    const prefix = values.fill(this.#row.prefix)
    values.finish()
    let place = readPlace(cursor, prefix)
    if (place === undefined && last > 0) place = await this.#beforeLast(prefix, last, signal)
    place ??= { key: '', offset: 0 }
    for (;;) {
      if (place.key !== '') place = yield* this.#object(prefix, place, wish)
      for await (const { key, modifiedMs } of this.#after(prefix, place.key, signal)) {
        // What was written before holds no line from then on.
        if (wish.sinceMs !== undefined && modifiedMs < wish.sinceMs) continue
        // It may have grown up to the moment in which there was one behind it.
        if (follow && place.key !== '') yield* this.#object(prefix, place, wish, true)
        place = yield* this.#object(prefix, { key, offset: 0 }, wish)
      }
      if (!follow || signal.aborted) return
      await pause(this.#clock, LOOK_MS, signal)
    }
  }

  async *#after(prefix: string, key: string, signal: AbortSignal): AsyncGenerator<StoredObject> {
    for (let after = key; ;) {
      const objects = await this.#store.list(prefix, after, signal)
      for (const one of objects) if (one.key.startsWith(prefix) && one.key > after) yield one
      const end = objects.at(-1)?.key
      if (end === undefined || end <= after || signal.aborted) return
      after = end
    }
  }

  /** Tells one object from a place on. Returns the place behind it: a line that has not ended is told when it has, or when nothing is awaited. */
  async *#object(
    prefix: string,
    { key, offset }: Place,
    { follow, signal }: TailWish,
    isWhole = !follow,
  ): AsyncGenerator<LogStep, Place> {
    const pieces = await this.#reader.read(key, offset, signal)
    if (pieces === undefined) {
      yield { kind: 'gap', bytes: 0, cursor: writePlace({ key, offset }, prefix) }
      return { key, offset }
    }
    const splitter = new LineSplitter(this.#row.lineBytesMax)
    let at = offset
    for await (const piece of pieces) {
      const lines = splitter.push(piece)
      if (lines.length === 0) continue
      yield told(prefix, key, at, lines)
      at += lines.reduce((sum, { bytes }) => sum + bytes, 0)
    }
    const open = isWhole || key.endsWith('.gz') ? splitter.flush() : undefined
    if (open === undefined) return { key, offset: at }
    // It has no end: what is counted for one is none.
    const line = { ...open, bytes: open.bytes - 1 }
    yield told(prefix, key, at, [line])
    return { key, offset: at + line.bytes }
  }

  /** In front of the last so many lines: objects are read from the newest on, and none of them is held. */
  async #beforeLast(prefix: string, last: number, signal: AbortSignal): Promise<Place | undefined> {
    const keys: string[] = []
    for await (const { key } of this.#after(prefix, '', signal)) keys.push(key)
    let wanted = Math.min(last, LAST_MAX)
    for (const key of keys.toReversed()) {
      const starts = await this.#starts(key, wanted, signal)
      const [first] = starts
      if (first !== undefined && starts.length >= wanted) return { key, offset: first }
      wanted -= starts.length
    }
    return undefined
  }

  /** Where the last so many lines of an object begin. */
  async #starts(key: string, count: number, signal: AbortSignal): Promise<number[]> {
    const starts: number[] = []
    const splitter = new LineSplitter(0)
    let at = 0
    for await (const piece of (await this.#reader.read(key, 0, signal)) ?? []) {
      for (const { bytes } of splitter.push(piece)) {
        starts.push(at)
        at += bytes
      }
      if (starts.length > 2 * count) starts.splice(0, starts.length - count)
    }
    if (splitter.openBytes > 0) starts.push(at)
    return starts.slice(-count)
  }
}

function told(prefix: string, key: string, from: number, lines: readonly LogLine[]): LogStep {
  const cursorBehind = (count: number): string => {
    const offset = lines.slice(0, count).reduce((sum, { bytes }) => sum + bytes, from)
    return writePlace({ key, offset }, prefix)
  }
  return { kind: 'lines', lines, cursorBehind }
}

function writePlace({ key, offset }: Place, prefix: string): string {
  return packCursor(prefix, [VERSION, key.slice(prefix.length), offset])
}

/** @throws RpcError CURSOR_INVALID */
function readPlace(cursor: string, prefix: string): Place | undefined {
  const fields = unpackCursor(cursor, prefix, VERSION)
  if (fields === undefined) return undefined
  const [, rest, offset] = fields
  if (typeof rest !== 'string' || rest.length > KEY_MAX || !isCount(offset)) throw cursorInvalid()
  return { key: `${prefix}${rest}`, offset }
}
