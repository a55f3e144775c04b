import { PosternError } from '../base/errors.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { MuxLimits } from './limits.ts'

const GOAWAYS_MAX = 16

/** Bursts of the rates that are not settings of their own. */
export const FIXED_LIMITS = { pingsBurst: 100, framesBurst: 20_000 } as const

/** The abuse limits of one session (PROTOCOL 9). Each method throws FLOOD when its rate is crossed. */
export class AbuseGuard {
  readonly #opens: TokenBucket
  readonly #resets: TokenBucket
  readonly #pings: TokenBucket
  readonly #empty: TokenBucket
  readonly #late: TokenBucket
  lateFrames = 0
  #goAways = 0

  constructor(limits: MuxLimits) {
    this.#opens = new TokenBucket(limits.opensPerSecond, limits.opensPerSecond)
    this.#resets = new TokenBucket(limits.resetsPerSecond, limits.resetsBurst)
    this.#pings = new TokenBucket(limits.pingsPerSecond, FIXED_LIMITS.pingsBurst)
    this.#empty = new TokenBucket(limits.emptyFramesPerSecond, FIXED_LIMITS.framesBurst)
    this.#late = new TokenBucket(limits.lateFramesPerSecond, FIXED_LIMITS.framesBurst)
  }

  /** False when the open should be refused; the session goes on. */
  mayOpen(nowMs: number): boolean {
    return this.#opens.spend(nowMs)
  }

  reset(nowMs: number): void {
    if (!this.#resets.spend(nowMs)) throw flood('resets of its own streams')
  }

  ping(nowMs: number): void {
    if (!this.#pings.spend(nowMs)) throw flood('pings')
  }

  empty(nowMs: number): void {
    if (!this.#empty.spend(nowMs)) throw flood('frames without effect')
  }

  /** A GOAWAY after the first; a peer may sharpen its word a few times, and each costs us a look at all streams. */
  goAway(): void {
    if (++this.#goAways > GOAWAYS_MAX) throw flood('GOAWAYs')
  }

  late(nowMs: number): void {
    this.lateFrames++
    if (!this.#late.spend(nowMs)) throw flood('frames for closed streams')
  }
}

function flood(what: string): PosternError {
  return new PosternError('FLOOD', `the peer sent too many ${what}`, { what })
}
