import { printable } from '../base/errors.ts'
import type { Capacity, HeartbeatRequest, ServiceHealth } from '../gen/postern/v1/tunnel_pb.js'
import { rpcErrorOfCode } from '../rpc/status.ts'
import type { AgentHello } from './agent-hello.ts'

/** What a gateway that takes them says in its welcome. */
export const HEARTBEAT_FEATURE = 'heartbeat'
/** Of one tunnel: what changes of services may cause, and no more. */
export const HEARTBEATS_PER_SECOND = 2
export const HEARTBEATS_BURST = 50
const REASON_MAX = 200

/** What an agent last said of its services and its machine, judged. */
export interface HeartbeatReport {
  /** In wall-clock ms, by our clock. */
  readonly atMs: number
  readonly services: readonly ServiceHealth[]
  /** Why each service that is down is. */
  readonly down: ReadonlyMap<string, string>
  readonly capacity: Capacity | undefined
}

/** Takes what it says of services that it offers, and lets go of the rest. @throws RpcError MALFORMED_CALL */
export function judgeHeartbeat(
  { services, capacity }: HeartbeatRequest,
  { serviceNames }: AgentHello,
  atMs: number,
): HeartbeatReport {
  if (services.length > serviceNames.size)
    throw rpcErrorOfCode('MALFORMED_CALL', 'a heartbeat names more services than the agent offers')
  const known = services.filter(({ name }) => serviceNames.has(name))
  for (const service of known) service.reason = printable(service.reason, REASON_MAX)
  const down = known.filter(({ isDown }) => isDown)
  return {
    atMs,
    services: known,
    down: new Map(down.map(({ name, reason }) => [name, reason])),
    capacity,
  }
}
