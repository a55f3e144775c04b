/** So many failures in a row, and a tunnel is left out. */
const FAILURES_MAX = 5
const EJECT_MS_MIN = 10_000
const EJECT_MS_MAX = 300_000

/**
 * How calls into one tunnel fare. One on which they fail again and again is left out for a while, twice
 * as long each time, where there is another to take them.
 */
export class CallRecord {
  #failures = 0
  #ejections = 0
  #ejectedUntilMs = 0

  isEjected(nowMs: number): boolean {
    return nowMs < this.#ejectedUntilMs
  }

  /** A call was answered by the agent, whatever the answer. */
  succeeded(): void {
    this.#failures = 0
    if (this.#ejections > 0) this.#ejections--
  }

  /** The agent did not answer, or could not take it. */
  failed(nowMs: number): void {
    if (this.isEjected(nowMs) || ++this.#failures < FAILURES_MAX) return
    this.#failures = 0
    const lengthMs = Math.min(EJECT_MS_MAX, EJECT_MS_MIN * 2 ** this.#ejections)
    this.#ejections++
    this.#ejectedUntilMs = nowMs + lengthMs
  }
}
