import type { BackendFiles } from './backend-files.ts'

/** One row of `prometheus:`. */
export interface PrometheusRow extends BackendFiles {
  readonly name: string
  /** Without a slash at its end. */
  readonly url: URL
  /** Names of metrics that may be asked for; a star at the end stands for any end. */
  readonly metrics: readonly string[]
  /** Labels that every series must have, with one of these values. */
  readonly labels: ReadonlyMap<string, readonly string[]>
  readonly rangeMaxMs: number
  /** Moments of one series in one answer. */
  readonly pointsMax: number
  readonly bytesMax: number
  readonly timeoutMs: number
}
