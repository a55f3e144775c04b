/** An agent holds itself off for no longer than its `backoff.max`, 60 s by default. */
const COMEBACK_MS_MAX = 60_000

/**
 * When each of `count` agents is to come back from a gateway that drains, in ms: evenly apart, at
 * `perSecond`, or faster where a minute would not do. The first may come at once.
 */
export function comebackMs(index: number, count: number, perSecond: number): number {
  const lastMs = Math.min((count / perSecond) * 1000, COMEBACK_MS_MAX)
  return Math.floor((index / count) * lastMs)
}
