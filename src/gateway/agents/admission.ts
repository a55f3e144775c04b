/** A place that was promised is kept this long past its time. */
const PROMISE_MS = 30_000
const PROMISES_MAX = 100_000
/** Clocks, and the network, may make somebody this early. */
const EARLY_MS = 50

/**
 * Lets newcomers in at a rate, with a burst (GCRA, ITU-T I.371), and gives everybody else a place in the
 * queue: when to come back, and then be let in for certain.
 */
export class Admission {
  readonly #intervalMs: number
  readonly #burstMs: number
  /** When the next newcomer would be due, were they evenly apart. */
  #dueMs = Number.NEGATIVE_INFINITY
  readonly #promises = new Map<string, number>()
  /** Told to come back later. */
  refused = 0

  constructor(perSecond: number, burst: number) {
    this.#intervalMs = 1000 / perSecond
    this.#burstMs = burst * this.#intervalMs
  }

  /** 0: come in. Else in how many ms to come back. */
  admit(name: string, nowMs: number): number {
    const promisedMs = this.#promises.get(name)
    if (promisedMs !== undefined) {
      this.#promises.delete(name)
      if (nowMs >= promisedMs - EARLY_MS && nowMs <= promisedMs + PROMISE_MS) return 0
      if (nowMs < promisedMs) return this.#promise(name, promisedMs, nowMs)
    }
    const dueMs = Math.max(this.#dueMs, nowMs)
    this.#dueMs = dueMs + this.#intervalMs
    const freeAtMs = this.#dueMs - this.#burstMs
    return freeAtMs <= nowMs ? 0 : this.#promise(name, freeAtMs, nowMs)
  }

  #promise(name: string, atMs: number, nowMs: number): number {
    this.refused++
    this.#promises.set(name, atMs)
    const [oldest] = this.#promises.keys()
    if (this.#promises.size > PROMISES_MAX && oldest !== undefined) this.#promises.delete(oldest)
    return Math.max(1, Math.ceil(atMs - nowMs))
  }
}
