import type { MetricRow, Sample } from '../base/metrics.ts'
import type { Direction } from '../contract/call-guard.ts'
import { DATA_TYPE_NAMES, type DataType } from '../contract/data-type.ts'

/** What crossed of one type since the start. */
export interface TypeCount {
  calls: number
  refused: number
  bytesIn: number
  bytesOut: number
}

/** Rows that every program with a guard has. */
export const TYPE_METRICS: readonly MetricRow[] = [
  {
    name: 'postern_data_calls_total',
    kind: 'counter',
    help: 'Calls and forwards by type of data and decision (allow, deny).',
    labels: ['type', 'decision'],
  },
  {
    name: 'postern_data_bytes_total',
    kind: 'counter',
    help: 'Bytes that crossed by type of data and direction, as the agent sees it (in, out).',
    labels: ['type', 'direction'],
  },
]

/** Counts what crosses by type of data. */
export class TypeCounts {
  readonly #byType = Object.fromEntries(
    DATA_TYPE_NAMES.map((type) => [type, { calls: 0, refused: 0, bytesIn: 0, bytesOut: 0 }]),
  ) as Readonly<Record<DataType, TypeCount>>

  called(type: DataType): void {
    this.#byType[type].calls++
  }

  refused(type: DataType): void {
    this.#byType[type].refused++
  }

  passed(type: DataType, direction: Direction, bytes: number): void {
    const count = this.#byType[type]
    if (direction === 'in') count.bytesIn += bytes
    else count.bytesOut += bytes
  }

  get byType(): Readonly<Record<DataType, Readonly<TypeCount>>> {
    return this.#byType
  }
}

/** Returns the samples of the rows for types of data. */
export function typeSamples(byType: TypeCounts['byType']): Sample[] {
  return Object.entries(byType).flatMap(([type, { calls, refused, bytesIn, bytesOut }]) => [
    { name: 'postern_data_calls_total', value: calls, labels: { type, decision: 'allow' } },
    { name: 'postern_data_calls_total', value: refused, labels: { type, decision: 'deny' } },
    { name: 'postern_data_bytes_total', value: bytesIn, labels: { type, direction: 'in' } },
    { name: 'postern_data_bytes_total', value: bytesOut, labels: { type, direction: 'out' } },
  ])
}
