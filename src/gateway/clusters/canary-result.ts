/** How the canary calls of one tunnel fare. */
export interface CanaryResult {
  /** Of the last that was answered, there and back, in ms. */
  readonly latencyMs: number | undefined
  /** Those in a row that were not. */
  readonly failures: number
}
