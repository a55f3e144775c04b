import type { ErrorCode } from '../base/errors.ts'

/** As often as this at most, in ms: the idle limit of no middlebox is shorter. */
const INTERVAL_MS_MIN = 2000
/** Up this long, a tunnel was not cut for being idle. */
const LASTING_MS = 600_000
/** How a middlebox that has forgotten a connection shows itself. */
const FORGOTTEN: readonly ErrorCode[] = ['CONNECTION_LOST', 'PEER_SILENT']

/**
 * Time between two pings, which adapts to the path: where tunnels are cut after a while, something in
 * between may forget connections that are idle for longer than it likes, and the next one is pinged
 * twice as often; once one has lasted, as the settings say.
 */
export class PingPace {
  readonly #intervalMsMax: number
  #intervalMs: number

  constructor(intervalMs: number) {
    this.#intervalMsMax = intervalMs
    this.#intervalMs = intervalMs
  }

  get intervalMs(): number {
    return this.#intervalMs
  }

  /** A tunnel fell that had been up for so long. */
  fell(code: ErrorCode, upMs: number): void {
    if (upMs >= LASTING_MS) this.#intervalMs = this.#intervalMsMax
    else if (FORGOTTEN.includes(code) && upMs >= this.#intervalMs)
      this.#intervalMs = Math.max(
        Math.min(INTERVAL_MS_MIN, this.#intervalMsMax),
        this.#intervalMs / 2,
      )
  }
}
