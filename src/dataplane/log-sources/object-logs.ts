import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
import { cursorInvalid, isCount, packCursor, unpackCursor } from '../log-cursor.ts'
import { LabelValues } from '../log-labels.ts'
import { LineSplitter, type LogLine } from '../log-lines.ts'
import type { LogSource, LogStep, TailWish } from '../log-source.ts'
import type { ObjectsLogsRow } from '../logs-row.ts'
import type { StoreBackend, StoredObject } from '../objects/objects.ts'
import { faultOf } from '../object-key.ts'
import { Broken, type ObjectReader } from './object-reader.ts'

const VERSION = 3
const LOOK_MS = 5000
const LAST_MAX = 10_000

/** Keys that are held while the last lines are looked for, and bytes that are read for them. */
const LAST_KEYS_MAX = 1000
const LAST_BYTES_MAX = 256 * 1024 * 1024

interface Place {
  readonly key: string
  readonly offset: number
  /** Nothing more comes in that object: it was packed, or is gone. */
  readonly isDone?: boolean
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
    for (let listed = place.key; ;) {
      if (place.key !== '' && place.isDone !== true)
        place = yield* this.#object(prefix, place, wish)
      for await (const { key, modifiedMs } of this.#after(prefix, listed, signal)) {
        listed = key
        // What was written before holds no line from then on.
        if (wish.sinceMs !== undefined && modifiedMs < wish.sinceMs) continue
        // It may have grown up to the moment in which there was one behind it.
        if (follow && place.key !== '' && place.isDone !== true)
          yield* this.#object(prefix, place, wish, true)
        place = yield* this.#object(prefix, { key, offset: 0 }, wish)
      }
      if (!follow || signal.aborted) return
      await pause(this.#clock, LOOK_MS, signal)
    }
  }

  async *#after(prefix: string, key: string, signal: AbortSignal): AsyncGenerator<StoredObject> {
    for (let after = key; ;) {
      const objects = await this.#store.list(prefix, after, signal)
      for (const one of objects)
        if (one.key.startsWith(prefix) && one.key > after && faultOf(one.key) === undefined)
          yield one
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
    // From the byte before it on: whoever says where to begin may say the middle of a line.
    const pieces = await this.#reader.read(key, Math.max(0, offset - 1), signal)
    if (pieces === undefined) {
      const gone = { key, offset, isDone: true }
      yield { kind: 'gap', bytes: 0, cursor: writePlace(gone, prefix) }
      return gone
    }
    const splitter = new LineSplitter(this.#row.lineBytesMax)
    if (offset > 0) splitter.skipLine()
    let at = offset
    try {
      for await (const piece of pieces) {
        const lines = splitter.push(piece)
        if (lines.length === 0) continue
        yield told(prefix, key, at, lines)
        at += lines.reduce((sum, { bytes }) => sum + bytes, 0)
      }
    } catch (error) {
      if (!(error instanceof Broken)) throw error
      const rest = { key, offset: at, isDone: true }
      yield { kind: 'gap', bytes: 0, cursor: writePlace(rest, prefix) }
      return rest
    }
    const isPacked = key.endsWith('.gz')
    const open = isWhole || isPacked ? splitter.flush() : undefined
    if (open === undefined) return { key, offset: at, isDone: isPacked }
    // It has no end: what is counted for one is none.
    const line = { ...open, bytes: open.bytes - 1 }
    yield told(prefix, key, at, [line])
    return { key, offset: at + line.bytes, isDone: isPacked }
  }

  /** In front of the last so many lines, or of as many as are found in time: objects are read from the newest on, and none of them is held. */
  async #beforeLast(prefix: string, last: number, signal: AbortSignal): Promise<Place | undefined> {
    const keys: string[] = []
    for await (const { key } of this.#after(prefix, '', signal)) {
      keys.push(key)
      if (keys.length > 2 * LAST_KEYS_MAX) keys.splice(0, keys.length - LAST_KEYS_MAX)
    }
    let wanted = Math.min(last, LAST_MAX)
    const budget = { bytes: LAST_BYTES_MAX }
    let place: Place | undefined
    for (const key of keys.slice(-LAST_KEYS_MAX).toReversed()) {
      const starts = await this.#starts(key, wanted, budget, signal)
      if (budget.bytes < 0) return place ?? { key, offset: starts[0] ?? 0, isDone: true }
      place = { key, offset: starts[0] ?? 0 }
      if (starts.length >= wanted) return place
      wanted -= starts.length
    }
    return undefined
  }

  /** Where the last so many lines of an object begin. */
  async #starts(
    key: string,
    count: number,
    budget: { bytes: number },
    signal: AbortSignal,
  ): Promise<number[]> {
    const starts: number[] = []
    const splitter = new LineSplitter(0)
    let at = 0
    for await (const piece of (await this.#reader.read(key, 0, signal)) ?? []) {
      budget.bytes -= piece.length
      if (budget.bytes < 0) return []
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

function writePlace({ key, offset, isDone = false }: Place, prefix: string): string {
  return packCursor(prefix, [VERSION, key.slice(prefix.length), offset, isDone ? 1 : 0])
}

/** @throws RpcError CURSOR_INVALID */
function readPlace(cursor: string, prefix: string): Place | undefined {
  const fields = unpackCursor(cursor, prefix, VERSION)
  if (fields === undefined) return undefined
  const [, rest, offset, done] = fields
  if (typeof rest !== 'string' || !isCount(offset) || !isCount(done, 1)) throw cursorInvalid()
  const key = `${prefix}${rest}`
  if (faultOf(key) !== undefined) throw cursorInvalid()
  return { key, offset, isDone: done === 1 }
}
