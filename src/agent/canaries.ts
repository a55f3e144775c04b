import type { Clock } from '../base/clock.ts'
import type { CanaryRequest } from '../gen/postern/v1/tunnel_pb.js'

/** What agent and gateway say that take, and make, canary calls. */
export const CANARY_FEATURE = 'canary'
const GATEWAYS_MAX = 16
const INTERVAL_MS_MIN = 1000
const INTERVAL_MS_MAX = 300_000

/** A call that a gateway sent the way that callers' calls go, to see that it is open. */
export interface Canary {
  /** When it came, in wall-clock ms. */
  readonly atMs: number
  readonly intervalMs: number
  /** Of the one before, there and back, in ms. */
  readonly latencyMs: number | undefined
  /** Those in a row, before this one, that failed. */
  readonly failures: number
}

/** The last canary call of each gateway. */
export class Canaries {
  readonly #clock: Clock
  readonly #byGateway = new Map<string, Canary>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `gateway`: whom the certificate at the other end names. A name in the message would be anybody's. */
  take(gateway: string, { latencyMs, failures, intervalMs }: CanaryRequest): void {
    this.#byGateway.delete(gateway)
    this.#byGateway.set(gateway, {
      atMs: this.#clock.wallMs(),
      intervalMs: Math.min(Math.max(intervalMs, INTERVAL_MS_MIN), INTERVAL_MS_MAX),
      latencyMs,
      failures,
    })
    const [oldest] = this.#byGateway.keys()
    if (this.#byGateway.size > GATEWAYS_MAX && oldest !== undefined) this.#byGateway.delete(oldest)
  }

  of(gateway: string): Canary | undefined {
    return this.#byGateway.get(gateway)
  }
}
