import type { Clock } from '../base/clock.ts'

/**
 * Event-loop time that strangers of one network get: together 3 s of a minute at most, which is 5 %. What
 * is overdrawn, as one handshake cannot be cut short, is paid back before anything else is done for them.
 */
const BURST_MS = 400
const MS_PER_MS = 0.036
const NETWORKS_MAX = 10_000
/** What closing a connection at the door costs: accept and close, measured. */
const KNOCK_MS = 0.025
/** Who knocks on while overdrawn owes no more than what a burst was: quiet, it is let in again after 11 s. */
const KNOCKS_DEBT_MS = -BURST_MS

interface Account {
  /** What is left, in ms; below nothing while overdrawn. */
  leftMs: number
  atMs: number
}

/** Who made us work pays for it: one account per network (IPv4 address or IPv6 /64), in ms of the event loop. */
export class NetworkBudget {
  readonly #clock: Clock
  /** Least recently charged first. */
  readonly #accounts = new Map<string, Account>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The clock's busy time, which charges are measured in. */
  get busyMs(): number {
    return this.#clock.busyMs()
  }

  /** More may be done for the network. */
  has(network: string): boolean {
    const account = this.#accounts.get(network)
    return account === undefined || this.#refill(account) > 0
  }

  /** Whether a connection may come in. One that may not has cost its closing, which is charged. */
  admits(network: string): boolean {
    if (this.has(network)) return true
    const account = this.#accounts.get(network)
    if (account !== undefined && account.leftMs > KNOCKS_DEBT_MS) account.leftMs -= KNOCK_MS
    return false
  }

  /** Takes `ms` of an account; less than nothing gives back. */
  charge(network: string, ms: number): void {
    const known = this.#accounts.get(network)
    const account = known ?? { leftMs: BURST_MS, atMs: this.#clock.nowMs() }
    account.leftMs = Math.min(BURST_MS, this.#refill(account) - ms)
    this.#accounts.delete(network)
    this.#accounts.set(network, account)
    if (this.#accounts.size > NETWORKS_MAX) this.#forget()
  }

  #refill(account: Account): number {
    const nowMs = this.#clock.nowMs()
    account.leftMs = Math.min(BURST_MS, account.leftMs + (nowMs - account.atMs) * MS_PER_MS)
    account.atMs = nowMs
    return account.leftMs
  }

  /** Whoever owes nothing first, then who was charged longest ago. */
  #forget(): void {
    for (const [network, account] of this.#accounts)
      if (this.#refill(account) >= BURST_MS) this.#accounts.delete(network)
    for (const network of this.#accounts.keys()) {
      if (this.#accounts.size <= NETWORKS_MAX) return
      this.#accounts.delete(network)
    }
  }
}
