import { createHash } from 'node:crypto'
import { cursorInvalid, isCount, packCursor, unpackCursor } from '../log-cursor.ts'

const VERSION = 2
/** Six characters tell entries of one moment from one another. */
const ID_CHARS = 6
const IDS_MAX = 250
const NANOS_MAX = 10n ** 20n

/** One entry of a log whose source knows when it was written. */
export interface TimedEntry {
  readonly timeNs: bigint
  /** What tells it from others of the same moment. */
  readonly id: string
  readonly text: string
}

/** How far a log was told: up to a moment, and of that moment these entries. */
export class TimedPlace {
  timeNs: bigint
  /** Of each of that moment, how often it was told: two may be alike. */
  #told = new Map<string, number>()
  #count = 0
  /** Of them, those that a cursor did not name. */
  #unnamed = 0

  constructor(timeNs: bigint) {
    this.timeNs = timeNs
  }

  /** Reads a cursor; undefined: it is empty. @throws RpcError CURSOR_INVALID */
  static read(cursor: string, log: string): TimedPlace | undefined {
    const fields = unpackCursor(cursor, log, VERSION)
    if (fields === undefined) return undefined
    const [, time, ids, count] = fields
    const isPlace = typeof time === 'string' && /^\d{1,20}$/.test(time) && typeof ids === 'string'
    if (!isPlace || ids.length > IDS_MAX * ID_CHARS || !isCount(count)) throw cursorInvalid()
    if (BigInt(time) > NANOS_MAX) throw cursorInvalid()
    const place = new TimedPlace(BigInt(time))
    place.#count = count
    for (let at = 0; at + ID_CHARS <= ids.length; at += ID_CHARS)
      place.#note(ids.slice(at, at + ID_CHARS))
    place.#unnamed = count - ids.length / ID_CHARS
    if (!isCount(place.#unnamed)) throw cursorInvalid()
    return place
  }

  /** More of one moment than a cursor names are told by their number. */
  write(log: string): string {
    const ids = [...this.#told].flatMap(([id, count]) => Array<string>(count).fill(id))
    const shown = ids.length > IDS_MAX ? '' : ids.join('')
    return packCursor(log, [VERSION, String(this.timeNs), shown, this.#count])
  }

  copy(): TimedPlace {
    const copy = new TimedPlace(this.timeNs)
    copy.#told = new Map(this.#told)
    copy.#count = this.#count
    copy.#unnamed = this.#unnamed
    return copy
  }

  /** Nothing before a moment is told any more. */
  moveTo(timeNs: bigint): void {
    this.timeNs = timeNs
    this.#told.clear()
    this.#count = 0
    this.#unnamed = 0
  }

  /** The entry was told. */
  advance({ timeNs, id }: TimedEntry): void {
    if (timeNs > this.timeNs) this.moveTo(timeNs)
    this.#note(shortOf(id))
    this.#count++
  }

  /** Of entries in their order, from this place's moment on, those that were not told. */
  fresh(entries: readonly TimedEntry[]): TimedEntry[] {
    const left = this.copy()
    return entries.filter((entry) => left.take(entry))
  }

  /** Whether an entry was not told: each that was is met once. */
  take({ timeNs, id }: TimedEntry): boolean {
    if (timeNs !== this.timeNs) return timeNs > this.timeNs
    const short = shortOf(id)
    const left = this.#told.get(short) ?? 0
    if (left > 0) this.#told.set(short, left - 1)
    else if (this.#unnamed > 0) this.#unnamed--
    else return true
    return false
  }

  #note(id: string): void {
    this.#told.set(id, (this.#told.get(id) ?? 0) + 1)
  }
}

function shortOf(id: string): string {
  return createHash('sha256').update(id).digest('base64url').slice(0, ID_CHARS)
}
