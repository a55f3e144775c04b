import { isAmount } from '../../base/amount.ts'
import type { Clock } from '../../base/clock.ts'
import { CANARY_FEATURE } from '../../contract/features.ts'
import type { CanaryRequest } from '../../gen/postern/v1/tunnel_pb.js'
import type { Reason } from '../health/health.ts'
import type { Tunnels } from '../tunnels/tunnels.ts'

const GATEWAYS_MAX = 16
const INTERVAL_MS_MIN = 1000
const INTERVAL_MS_MAX = 300_000
/** Where a gateway has not said how often it calls. */
const INTERVAL_MS = 15_000
/** So many intervals without a canary call, and none comes through any more. */
const MISSED_MAX = 3

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

/** The agent's record of the last canary call received from each gateway, at most 16. */
export class Canaries {
  readonly #clock: Clock
  readonly #byGateway = new Map<string, Canary>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `gateway`: whom the certificate at the other end names. A name in the message would be anybody's. */
  note(gateway: string, { latencyMs, failures, intervalMs }: CanaryRequest): void {
    this.#byGateway.delete(gateway)
    this.#byGateway.set(gateway, {
      atMs: this.#clock.wallMs(),
      intervalMs: Math.min(Math.max(intervalMs, INTERVAL_MS_MIN), INTERVAL_MS_MAX),
      latencyMs: isAmount(latencyMs) ? latencyMs : undefined,
      failures,
    })
    const [oldest] = this.#byGateway.keys()
    if (this.#byGateway.size > GATEWAYS_MAX && oldest !== undefined) this.#byGateway.delete(oldest)
  }

  /** By the name of the gateway. */
  get all(): ReadonlyMap<string, Canary> {
    return this.#byGateway
  }

  of(gateway: string): Canary | undefined {
    return this.#byGateway.get(gateway)
  }
}

/** Whether calls come through, rather than whether something was connected once. */
export function canaryReasons(
  tunnels: Tunnels,
  canaries: Canaries,
  latencyMsMax: number,
  nowMs: number,
): Reason[] {
  const found = tunnels.ready.flatMap(({ welcome, sinceWallMs }) => {
    if (!welcome.features.includes(CANARY_FEATURE)) return []
    const { gateway } = welcome
    const canary = canaries.of(gateway)
    const why = canaryFault(canary, sinceWallMs, nowMs, latencyMsMax)
    return why === undefined ? [] : [{ gateway, ...why }]
  })
  const dead = found.filter(({ isDead }) => isDead).length
  return found.map(({ gateway, text, isDead }) => ({
    key: `canary ${gateway}`,
    text: `through gateway ${gateway}: ${text}`,
    isDown: isDead && dead === tunnels.ready.length,
  }))
}

function canaryFault(
  canary: Canary | undefined,
  upSinceMs: number,
  nowMs: number,
  latencyMsMax: number,
): { text: string; isDead: boolean } | undefined {
  const { atMs = 0, intervalMs = INTERVAL_MS, latencyMs = 0, failures = 0 } = canary ?? {}
  const quietMs = nowMs - Math.max(atMs, upSinceMs)
  if (quietMs > MISSED_MAX * intervalMs + INTERVAL_MS) {
    const text = `no call has come through for ${String(Math.round(quietMs / 1000))} s`
    return { text, isDead: true }
  }
  if (atMs < upSinceMs) return undefined
  if (failures > 0)
    return { text: `${String(failures)} canary calls failed in a row`, isDead: false }
  if (latencyMs <= latencyMsMax) return undefined
  return { text: `a call takes ${String(Math.round(latencyMs))} ms there and back`, isDead: false }
}
