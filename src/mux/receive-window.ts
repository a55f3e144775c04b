import { BUDGET_SHARE, type ByteBudget } from '../base/byte-budget.ts'
import { PosternError } from '../base/errors.ts'
import type { MuxLimits } from './limits.ts'

/**
 * Below this a window is not worth its WINDOW frames; a stream that cannot have it is refused. As
 * much is kept for every stream that may still be opened, so that no bulk keeps a call out.
 */
export const WINDOW_FLOOR_BYTES = 16 * 1024

/**
 * Part of a window that must be free before it is announced. With a half, a sender and a receiver
 * fall into step with only half of the window ever under way (measured: 80 instead of 140 MB/s at
 * 50 ms); with an eighth, seven eighths are.
 */
const GRANT_FRACTION = 1 / 8

/**
 * Growth is judged over two windows: the bytes of one may all have been waiting already, those of
 * two include a round trip.
 */
const EPOCH_WINDOWS = 2
const EPOCH_ROUND_TRIPS = 3
/**
 * Processes take turns too, and a relay adds a hop that no ping of ours sees. This much more time
 * per epoch lets a window grow to half a millisecond of data beyond the path. With three times as
 * much, calls beside eight bulk streams wait for 6 instead of 4 ms (p99) and bulk gains nothing.
 */
const EPOCH_SLACK_MS = 1

/**
 * Credit of one session's receiving side. Offsets are absolute and count DATA payload bytes of all
 * streams. The limit granted is always `consumed + slack + all stream windows`, so that the session
 * never holds back a stream that has credit of its own, and each of those bytes is reserved in the
 * process's budget before it is granted.
 */
export class SessionWindow {
  readonly limits: MuxLimits
  readonly #budget: ByteBudget
  #isReleased = false
  received = 0
  consumed = 0
  limit: number
  /** Sum of the windows of all open streams, and how many there are. */
  windowsBytes = 0
  #windowsCount = 0
  /** Messages that are being gathered, beyond the windows they came through. */
  #messagesBytes = 0
  readonly #floorPoolBytes: number
  /** Least round trip seen, in ms; 0 until one was measured. */
  rttMinMs = 0

  /** The slack must have been reserved by whoever made the session; `release` gives it back. */
  constructor(limits: MuxLimits, budget: ByteBudget) {
    this.limits = limits
    this.#budget = budget
    this.limit = limits.sessionCreditBytes
    this.#floorPoolBytes = Math.min(
      WINDOW_FLOOR_BYTES * limits.streamsMax,
      limits.sessionWindowBytesMax / 2,
    )
  }

  get bufferedBytes(): number {
    return this.received - this.consumed
  }

  /** Counts bytes that came against the session's credit. @throws FLOW_CONTROL_VIOLATION */
  charge(count: number): void {
    this.received += count
    if (this.received <= this.limit) return
    const text = 'the peer sent more than the session was granted'
    throw new PosternError('FLOW_CONTROL_VIOLATION', text, { limit: this.limit })
  }

  /** The largest window that can be had now, from the usual first size down to the floor; or 0. */
  reserveFirst(): number {
    const { windowBytesMin, sessionWindowBytesMax } = this.limits
    this.#windowsCount++
    for (let bytes = windowBytesMin; bytes > WINDOW_FLOOR_BYTES; bytes /= 4) {
      if (this.#reserve(bytes, sessionWindowBytesMax - this.#floorLeft, BUDGET_SHARE.firstWindow))
        return bytes
    }
    if (this.#reserve(WINDOW_FLOOR_BYTES, sessionWindowBytesMax, BUDGET_SHARE.message))
      return WINDOW_FLOOR_BYTES
    this.#windowsCount--
    return 0
  }

  /** Room for a window to grow by: half of what the floors leave, the rest is for newcomers. */
  reserveGrowth(bytes: number): boolean {
    const cap = (this.limits.sessionWindowBytesMax + this.#floorPoolBytes) / 2 - this.#floorLeft
    return this.#reserve(bytes, cap, BUDGET_SHARE.growth)
  }

  /** The window of one stream is given back. */
  unreserve(bytes: number): void {
    if (this.#isReleased || bytes === 0) return
    this.#windowsCount--
    this.windowsBytes -= bytes
    this.#budget.release(bytes)
  }

  /** Room for a message that is gathered while its bytes are consumed; one session's have a bound. */
  reserveMessage(bytes: number): boolean {
    if (this.#messagesBytes + bytes > this.limits.sessionWindowBytesMax) return false
    if (!this.#budget.reserve(bytes, BUDGET_SHARE.message)) return false
    this.#messagesBytes += bytes
    return true
  }

  releaseMessage(bytes: number): void {
    this.#messagesBytes -= bytes
    this.#budget.release(bytes)
  }

  /** What is kept for streams that are not there yet. */
  get #floorLeft(): number {
    return Math.max(0, this.#floorPoolBytes - WINDOW_FLOOR_BYTES * this.#windowsCount)
  }

  #reserve(bytes: number, cap: number, share: number): boolean {
    if (this.#isReleased || this.windowsBytes + bytes > cap) return false
    if (!this.#budget.reserve(bytes, share)) return false
    this.windowsBytes += bytes
    return true
  }

  /** A new session limit to announce, or undefined while the peer has enough left. */
  grant(): number | undefined {
    const limit = this.consumed + this.limits.sessionCreditBytes + this.windowsBytes
    if (limit - this.limit < this.limits.sessionCreditBytes / 2) return undefined
    this.limit = limit
    return limit
  }

  /** Gives everything back to the budget, the slack included. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#budget.release(this.windowsBytes + this.limits.sessionCreditBytes)
    this.windowsBytes = 0
  }
}

/** Credit of one stream's receiving side. Offsets are absolute and count DATA payload bytes. */
export class StreamWindow {
  received = 0
  consumed = 0
  limit: number
  bytes = 0
  #epochConsumed = 0
  #epochAtMs = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** Opens the window to a reserved size; returns the limit to announce. */
  open(bytes: number, nowMs: number): number {
    this.bytes = bytes
    this.limit = Math.max(this.limit, this.consumed + bytes)
    this.#epochConsumed = this.consumed
    this.#epochAtMs = nowMs
    return this.limit
  }

  /** Takes note of used bytes; returns a new limit to announce, if one is due. */
  consume(count: number, session: SessionWindow, nowMs: number): number | undefined {
    this.consumed += count
    if (this.consumed - this.#epochConsumed >= this.bytes * EPOCH_WINDOWS)
      this.#maybeGrow(session, nowMs)
    const limit = this.consumed + this.bytes
    if (limit <= this.limit) return undefined
    if (limit - this.limit < this.bytes * GRANT_FRACTION) return undefined
    this.limit = limit
    return limit
  }

  /**
   * Two windows used within three round trips, and some, mean that the window, not the path, sets
   * the pace: it doubles, as long as stream, session and process all have room.
   */
  #maybeGrow(session: SessionWindow, nowMs: number): void {
    const elapsedMs = nowMs - this.#epochAtMs
    this.#epochConsumed = this.consumed
    this.#epochAtMs = nowMs
    if (elapsedMs > EPOCH_ROUND_TRIPS * session.rttMinMs + EPOCH_SLACK_MS) return
    const grown = Math.min(this.bytes * 2, session.limits.windowBytesMax)
    if (grown > this.bytes && session.reserveGrowth(grown - this.bytes)) this.bytes = grown
  }
}
