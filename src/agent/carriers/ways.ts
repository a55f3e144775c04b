import type { Clock } from '../../base/clock.ts'
import type { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { WayName } from '../../config/carrier-settings.ts'

const REST_MS_MAX = 300_000
/** A way that has worked for so long lasts: its next failure is a first one. */
const STABLE_MS = 60_000

/** How a way to the gateways is. Times in wall-clock ms. */
export interface WayReport {
  readonly name: WayName
  /** Why it was last left, or did not come up; undefined: it has not failed since it last worked. */
  readonly failure: string | undefined
  readonly failedAtMs: number | undefined
  /** Not tried again before this, where there is another; undefined: it may be tried. */
  readonly restsUntilMs: number | undefined
}

interface Entry {
  readonly name: WayName
  /** Failures in a row. */
  failures: number
  error: PosternError | undefined
  failedAtMs: number
  /** By the monotonic clock; Infinity: it has not, since its last failure. */
  workedAtMs: number
  /** By the monotonic clock. */
  restsUntilMs: number
}

/**
 * The ways to the gateways, in order of preference. One that fails rests, and the next is taken; once a better one has rested
 * tunnels may climb back up to it.
 */
export class Ways {
  readonly #clock: Clock
  readonly #random: Random
  readonly #restMs: number
  readonly #entries: readonly Entry[]

  /** `restMs`: how long one rests after its first failure. */
  constructor(names: readonly WayName[], restMs: number, clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
    this.#restMs = restMs
    this.#entries = names.map((name) => ({
      ...{ name, failures: 0, error: undefined },
      ...{ failedAtMs: 0, workedAtMs: Infinity, restsUntilMs: Number.NEGATIVE_INFINITY },
    }))
  }

  /** The way that the next dial takes: the first that does not rest, or else the one that has rested longest. `but`: not this one, where there is another. */
  next(but?: WayName): WayName {
    const others = this.#entries.filter(({ name }) => name !== but)
    const among = others.length > 0 ? others : this.#entries
    const awake = among.find((entry) => !this.#rests(entry))
    const [soonest] = [...among].sort((a, b) => a.restsUntilMs - b.restsUntilMs)
    const found = awake ?? soonest
    if (found === undefined) throw new RangeError('there is one way at least')
    return found.name
  }

  /** Whether there is another way than the one that just failed, which does not rest: nothing is to be waited for then. */
  get hasAnother(): boolean {
    return this.#entries.length > 1 && this.#entries.some((entry) => !this.#rests(entry))
  }

  /** Whether a connection that came by a way should go over to a better one, which is not `but`. */
  isOutdone(name: WayName, but?: WayName): boolean {
    return this.#rank(this.next(but)) < this.#rank(name)
  }

  /** A gateway has let us in. That the way lasts, time tells: until then its failures count on. */
  worked(name: WayName): void {
    const entry = this.#find(name)
    entry.workedAtMs = this.#clock.nowMs()
    entry.error = undefined
    entry.restsUntilMs = Number.NEGATIVE_INFINITY
  }

  failed(name: WayName, error: PosternError): void {
    const entry = this.#find(name)
    if (this.#clock.nowMs() - entry.workedAtMs >= STABLE_MS) entry.failures = 0
    entry.workedAtMs = Infinity
    const whole = Math.min(REST_MS_MAX, this.#restMs * 2 ** Math.min(entry.failures, 20))
    // Agents that lost a way together do not come back to it together.
    const restMs = whole * (1 + this.#random.fraction()) * 0.5
    entry.failures++
    entry.error = error
    entry.failedAtMs = this.#clock.wallMs()
    entry.restsUntilMs = this.#clock.nowMs() + restMs
  }

  report(): WayReport[] {
    return this.#entries.map((entry) => {
      const leftMs = entry.restsUntilMs - this.#clock.nowMs()
      const { name, error, failedAtMs } = entry
      return {
        name,
        failure: error && `${error.code}: ${error.rawMessage}`,
        failedAtMs: error === undefined ? undefined : failedAtMs,
        restsUntilMs: leftMs > 0 ? this.#clock.wallMs() + leftMs : undefined,
      }
    })
  }

  #rests({ restsUntilMs }: Entry): boolean {
    return this.#clock.nowMs() < restsUntilMs
  }

  #rank(name: WayName): number {
    return this.#entries.findIndex((entry) => entry.name === name)
  }

  #find(name: WayName): Entry {
    const entry = this.#entries[this.#rank(name)]
    if (entry === undefined) throw new RangeError(`no such way: ${name}`)
    return entry
  }
}
