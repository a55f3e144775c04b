import assert from 'node:assert/strict'
import type { Random } from '../base/random.ts'

/** The values and collaborators that `backoffMs` is given. */
export interface BackoffOptions {
  readonly minMs: number
  readonly maxMs: number
}

/** By then every bound of a setting is reached, and the power is far from any limit of a number. */
const DOUBLINGS_MAX = 30

/** Full jitter: anywhere between nothing and the exponential bound, so that a fleet spreads out. */
export function backoffMs(
  attempt: number,
  { minMs, maxMs }: BackoffOptions,
  random: Random,
): number {
  assert(attempt >= 0 && minMs > 0 && maxMs >= minMs)
  const bound = Math.min(maxMs, minMs * 2 ** Math.min(attempt, DOUBLINGS_MAX))
  return bound * random.fraction()
}
