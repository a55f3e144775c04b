import { DATA_TYPE_NAMES, type DataType } from '../contract/data-type.ts'
import type { Verified } from './verify-record.ts'

const CALLERS_MAX = 1000
const DAYS_MAX = 4000

/** What crossed of one type. */
export interface SummaryRow {
  calls: number
  refused: number
  bytesIn: number
  bytesOut: number
  /** Calls by who made them; those beyond the first thousand names are `others`. */
  readonly callers: Map<string, number>
}

/** What crossed in a span of time, out of a record. */
export interface Summary {
  readonly byType: Readonly<Record<DataType, SummaryRow>>
  /** Calls, refusals and bytes of each day, `2026-11-26`, by type. */
  readonly byDay: ReadonlyMap<string, ReadonlyMap<DataType, SummaryRow>>
  /** Refusals of what declared no type, as it was not offered. */
  readonly refusedUntyped: number
  readonly from: string | undefined
  readonly to: string | undefined
  /** What was done to the guard itself, newest last; at most a hundred. */
  readonly events: readonly { readonly at: string; readonly event: string; readonly text: string }[]
}

type Line = Readonly<Record<string, unknown>>

/** Sums up the lines of a record. */
export class Summing {
  readonly #sinceMs: number
  readonly #untilMs: number
  readonly #byType = rows()
  readonly #byDay = new Map<string, Map<DataType, SummaryRow>>()
  /** Streams that are open: what they are of. */
  readonly #streams = new Map<string, { type: DataType; caller: string }>()
  readonly #events: { at: string; event: string; text: string }[] = []
  #refusedUntyped = 0
  #from: string | undefined
  #to: string | undefined

  constructor(sinceMs: number, untilMs: number) {
    this.#sinceMs = sinceMs
    this.#untilMs = untilMs
  }

  add(line: Line): void {
    const { at } = line
    if (typeof at !== 'string') return
    const atMs = Date.parse(at)
    const isWithin = atMs >= this.#sinceMs && atMs < this.#untilMs
    if (isWithin) {
      this.#from ??= at
      this.#to = at
    }
    if (typeof line.stream === 'string') this.#stream(line, line.stream, at, isWithin)
    else if (!isWithin) return
    else if (typeof line.own === 'string') this.#own(line, at)
    else if (typeof line.event === 'string') this.#event(line, at, line.event)
    else this.#call(line, at)
  }

  end(): Summary {
    return {
      byType: this.#byType,
      byDay: this.#byDay,
      refusedUntyped: this.#refusedUntyped,
      from: this.#from,
      to: this.#to,
      events: this.#events,
    }
  }

  #call(line: Line, at: string): void {
    const type = typeOf(line.type)
    const { repeated, decision } = line
    const count = typeof repeated === 'number' ? repeated : 1
    if (decision === 'deny') {
      if (type === undefined) this.#refusedUntyped += count
      else for (const row of this.#rows(type, at)) row.refused += count
      return
    }
    if (type !== undefined) this.#count(type, at, 1, line, callerOf(line))
  }

  /** The bytes of a stream are told at its end, which names it alone. */
  #stream(line: Line, stream: string, at: string, isWithin: boolean): void {
    const known = this.#streams.get(stream)
    if ('end' in line) {
      this.#streams.delete(stream)
      if (known !== undefined && isWithin) this.#count(known.type, at, 0, line, known.caller)
      return
    }
    const type = typeOf(line.type)
    if (type === undefined) return
    this.#streams.set(stream, { type, caller: callerOf(line) })
    if (isWithin) this.#count(type, at, 1, {}, callerOf(line))
  }

  #own({ type, calls, refused, in: bytesIn, out: bytesOut }: Line, at: string): void {
    for (const row of this.#rows(typeOf(type) ?? 'own', at)) {
      row.calls += numberOf(calls)
      row.refused += numberOf(refused)
      row.bytesIn += numberOf(bytesIn)
      row.bytesOut += numberOf(bytesOut)
    }
  }

  #event({ text }: Line, at: string, event: string): void {
    this.#events.push({ at, event, text: typeof text === 'string' ? text : '' })
    if (this.#events.length > 100) this.#events.shift()
  }

  #count(type: DataType, at: string, calls: number, line: Line, caller: string): void {
    for (const row of this.#rows(type, at)) {
      row.calls += calls
      row.bytesIn += numberOf(line.in)
      row.bytesOut += numberOf(line.out)
      const name = row.callers.has(caller) || row.callers.size < CALLERS_MAX ? caller : 'others'
      row.callers.set(name, (row.callers.get(name) ?? 0) + calls)
    }
  }

  #rows(type: DataType, at: string): readonly SummaryRow[] {
    const day = at.slice(0, 10)
    let types = this.#byDay.get(day)
    if (types === undefined && this.#byDay.size < DAYS_MAX) {
      types = new Map()
      this.#byDay.set(day, types)
    }
    const found = types?.get(type) ?? row()
    types?.set(type, found)
    return [this.#byType[type], found]
  }
}

function row(): SummaryRow {
  return { calls: 0, refused: 0, bytesIn: 0, bytesOut: 0, callers: new Map() }
}

function rows(): Readonly<Record<DataType, SummaryRow>> {
  const entries = DATA_TYPE_NAMES.map((type) => [type, row()] as const)
  return Object.fromEntries(entries) as Record<DataType, SummaryRow>
}

function typeOf(value: unknown): DataType | undefined {
  return DATA_TYPE_NAMES.find((type) => type === value)
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0
}

/** "console", "console (sealed)", "dba-anna via orders-db". */
function callerOf({ caller, service, sealed }: Line): string {
  const via = typeof service === 'string' ? ` via ${service}` : ''
  return `${typeof caller === 'string' ? caller : '?'}${via}${sealed === true ? ' (sealed)' : ''}`
}

/** Says how far a record is proven, in one line. */
export function provenText({ findings, first, last, signedTo, anchoredTo }: Verified): string {
  if (findings.length > 0)
    return `record NOT WHOLE: ${String(findings.length)} findings, see agent audit verify`
  if (last < first || last === 0) return 'the record is empty'
  const anchored =
    anchoredTo === 0
      ? 'not anchored'
      : `anchored to ${String(anchoredTo)} (${String(last - anchoredTo)} lines unproven)`
  return `record verified to ${String(last)}, signed to ${String(signedTo)}, ${anchored}`
}
