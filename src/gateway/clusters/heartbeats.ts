import { isAmount } from '../../base/amount.ts'
import { printable } from '../../base/errors.ts'
import type {
  Capacity,
  HeartbeatRequest,
  PostureSummary,
  ServiceHealth,
} from '../../gen/postern/v1/tunnel_pb.js'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import type { AgentHello } from './hello.ts'

/** Heartbeats a second that are taken of one tunnel: what changes of services may cause, and no more. */
export const HEARTBEATS_PER_SECOND = 2
/** The heartbeats of one tunnel that are taken at once. */
export const HEARTBEATS_BURST = 50
const SERVICES_MAX = 1024
const REASON_MAX = 200
const HASH_BYTES = 32
/** More than any machine shows. */
const LOAD_MAX = 1_000_000

/** What an agent last said of its services and its machine, judged. */
export interface HeartbeatReport {
  /** In wall-clock ms, by our clock. */
  readonly atMs: number
  readonly services: readonly ServiceHealth[]
  /** Why each service that is down is. */
  readonly down: ReadonlyMap<string, string>
  readonly capacity: Capacity | undefined
  /** The customer takes no calls, and why, where they tell. */
  readonly isLockedDown: boolean
  readonly lockdownReason: string
  /** How far the agent's record goes, and the hash of its last batch. */
  readonly recordLines: bigint
  readonly recordHead: Uint8Array
  /** Where the customer lets it be told. */
  readonly posture: PostureSummary | undefined
}

/** Takes what it says of services that it offers, and lets go of the rest. @throws RpcError MALFORMED_CALL */
export function judgeHeartbeat(
  heartbeat: HeartbeatRequest,
  { serviceNames }: AgentHello,
  atMs: number,
): HeartbeatReport {
  const { services, capacity, posture, isLockedDown, lockdownReason } = heartbeat
  if (services.length > SERVICES_MAX)
    throw rpcErrorOfCode(
      'MALFORMED_CALL',
      `a heartbeat names over ${String(SERVICES_MAX)} services`,
    )
  // Of names that it registered, each once: a reload may be ahead of the registration.
  const byName = new Map(services.map((service) => [service.name, service]))
  const known = [...byName.values()].filter(({ name }) => serviceNames.has(name))
  for (const service of known) {
    service.reason = printable(service.reason, REASON_MAX)
    service.sinceMs = clamped(service.sinceMs, atMs)
    if (!isAmount(service.latencyMs)) delete service.latencyMs
  }
  const down = known.filter(({ isDown }) => isDown)
  return {
    atMs,
    services: known,
    down: new Map(down.map(({ name, reason }) => [name, reason])),
    capacity: capacity && judgeCapacity(capacity),
    isLockedDown,
    lockdownReason: printable(lockdownReason, REASON_MAX),
    recordLines: heartbeat.recordLines,
    recordHead: heartbeat.recordHead.subarray(0, HASH_BYTES),
    posture: posture && { ...posture, atMs: clamped(posture.atMs, atMs) },
  }
}

/** A load that is no amount is taken for none; whole numbers are bounded by their fields. */
function judgeCapacity(capacity: Capacity): Capacity {
  if (!isAmount(capacity.load)) capacity.load = 0
  capacity.load = Math.min(capacity.load, LOAD_MAX)
  return capacity
}

/** No time before 1970 or after now. */
function clamped(timeMs: bigint, nowMs: number): bigint {
  const latest = BigInt(Math.round(nowMs))
  return timeMs < 0n ? 0n : timeMs > latest ? latest : timeMs
}
