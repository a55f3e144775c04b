import type { MetricRow, Sample } from '../base/metrics.ts'
import { STATUS_NAMES } from './status.ts'

/** Upper bounds of latency, in ms: around what a link takes, and around what people wait. */
const BOUNDS_MS = [5, 25, 100, 250, 1000, 2500, 10_000, 60_000] as const

/** Rows that every program with a CallCounts has. */
export const CALL_METRICS: readonly MetricRow[] = [
  {
    name: 'postern_calls_total',
    kind: 'counter',
    help: 'Calls and forwards that have ended, by kind (call, forward) and gRPC status; refused ones included.',
    labels: ['kind', 'status'],
  },
  {
    name: 'postern_call_duration_seconds_bucket',
    kind: 'counter',
    help: 'Calls, forwards not, that took no longer than le; a histogram with the two below.',
    labels: ['le'],
  },
  {
    name: 'postern_call_duration_seconds_sum',
    kind: 'counter',
    help: 'How long calls took, together.',
  },
  {
    name: 'postern_call_duration_seconds_count',
    kind: 'counter',
    help: 'Calls that were timed.',
  },
]

/** Counts calls and forwards as they end, at the cost of two additions each; metrics read it. */
export class CallCounts {
  /** By status number. */
  readonly #calls = STATUS_NAMES.map(() => 0)
  readonly #forwards = STATUS_NAMES.map(() => 0)
  /** By the first bound that the call met; the last: none. */
  readonly #met = [...BOUNDS_MS, Infinity].map(() => 0)
  #sumMs = 0

  /** A status outside the table counts as UNKNOWN. */
  ended(isForward: boolean, status: number, durationMs: number): void {
    const counts = isForward ? this.#forwards : this.#calls
    const known = status < counts.length ? status : UNKNOWN
    counts[known] = (counts[known] ?? 0) + 1
    if (isForward) return
    let index = 0
    while (index < BOUNDS_MS.length && durationMs > (BOUNDS_MS[index] as number)) index++
    this.#met[index] = (this.#met[index] ?? 0) + 1
    this.#sumMs += durationMs
  }

  samples(): Sample[] {
    const found: Sample[] = []
    for (const [kind, counts] of [
      ['call', this.#calls],
      ['forward', this.#forwards],
    ] as const)
      for (const [number, value] of counts.entries()) {
        const status = STATUS_NAMES[number] ?? 'UNKNOWN'
        if (value > 0) found.push({ name: 'postern_calls_total', value, labels: { kind, status } })
      }
    let sum = 0
    for (const [index, count] of this.#met.entries()) {
      sum += count
      const bound = BOUNDS_MS[index]
      const le = bound === undefined ? '+Inf' : String(bound / 1000)
      found.push({ name: 'postern_call_duration_seconds_bucket', value: sum, labels: { le } })
    }
    return [
      ...found,
      { name: 'postern_call_duration_seconds_sum', value: this.#sumMs / 1000 },
      { name: 'postern_call_duration_seconds_count', value: sum },
    ]
  }
}

const UNKNOWN = STATUS_NAMES.indexOf('UNKNOWN')
