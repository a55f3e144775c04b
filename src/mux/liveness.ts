import type { MuxLimits } from './limits.ts'

const SAMPLES_AT_START = 6

/** Pings and silence of one session, in monotonic milliseconds. Any byte heard is a sign of life. */
export class Liveness {
  readonly #limits: MuxLimits
  #heardAtMs: number
  #nextPingAtMs: number
  #pendingNonce = 0
  #pendingSinceMs = 0
  #nonce = 0
  #answered = 0
  /** Last and least round trip; undefined until the first PONG. */
  rttMs: number | undefined
  rttMinMs: number | undefined

  constructor(limits: MuxLimits, nowMs: number) {
    this.#limits = limits
    this.#heardAtMs = nowMs
    this.#nextPingAtMs = Number.POSITIVE_INFINITY
  }

  heard(nowMs: number): void {
    this.#heardAtMs = nowMs
  }

  /** Pings begin, the first one at once: it measures the path before the first bulk transfer. */
  start(nowMs: number): void {
    this.#nextPingAtMs = nowMs
  }

  get nextTimeoutMs(): number {
    return Math.min(this.#nextPingAtMs, this.#heardAtMs + this.#limits.silenceMs)
  }

  isSilent(nowMs: number): boolean {
    return nowMs - this.#heardAtMs >= this.#limits.silenceMs
  }

  /** The nonce of a PING to send now, or undefined. One is in flight at a time. */
  takePing(nowMs: number): number | undefined {
    if (nowMs < this.#nextPingAtMs) return undefined
    this.#nextPingAtMs = nowMs + this.#limits.pingIntervalMs
    if (this.#pendingNonce !== 0) return undefined
    this.#pendingNonce = ++this.#nonce
    this.#pendingSinceMs = nowMs
    return this.#pendingNonce
  }

  /** False when no PING with that nonce is in flight. */
  pong(nonce: number, nowMs: number): boolean {
    if (nonce !== this.#pendingNonce || nonce === 0) return false
    this.#pendingNonce = 0
    // The first round trips run through cold code: only several of them show the path.
    if (++this.#answered < SAMPLES_AT_START) this.#nextPingAtMs = nowMs
    this.rttMs = nowMs - this.#pendingSinceMs
    this.rttMinMs = Math.min(this.rttMinMs ?? Number.POSITIVE_INFINITY, this.rttMs)
    return true
  }
}
