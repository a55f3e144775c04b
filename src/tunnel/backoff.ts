import assert from 'node:assert/strict'
import type { Random } from '../base/random.ts'

/** The values and collaborators that Backoff is given. */
export interface BackoffOptions {
  readonly minMs: number
  readonly maxMs: number
}

/** Full jitter: anywhere between nothing and the exponential bound, so that a fleet spreads out. */
export function backoffMs(
  attempt: number,
  { minMs, maxMs }: BackoffOptions,
  random: Random,
): number {
  assert(attempt >= 0 && minMs > 0 && maxMs >= minMs)
  const bound = Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30))
  return bound * random.fraction()
}
