import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
import { Admin, type GatewayStatus } from '../../gen/postern/v1/admin_pb.js'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { offersOf } from '../../rpc/typed.ts'
import type { GatewayRooms } from './report.ts'
import { gatewayStatus } from './status.ts'

/** Between two messages of Drain. */
const DRAIN_MS = 500
/** From the order to drain until it is followed. */
const ORDER_MS = 50

/** The collaborators of the service that an operator calls. */
export interface AdminPorts {
  readonly gateway: GatewayRooms
  readonly clock: Clock
  /** Begins to drain, as SIGTERM does. */
  readonly drain: () => void
}

/** Returns the methods of `postern.v1.Admin`, for the local socket. */
export function adminOffers({ gateway, clock, drain }: AdminPorts): Offer[] {
  const startedAtMs = clock.wallMs()
  const status = (): GatewayStatus => gatewayStatus(gateway.report(), startedAtMs, clock.wallMs())
  async function* drainAndTell(_request: unknown, { signal }: CallContext) {
    // The first answer leaves before: a gateway that has little to finish is gone at once.
    clock.startTimer(ORDER_MS, drain)
    for (;;) {
      yield status()
      await pause(clock, DRAIN_MS, signal, false)
    }
  }
  return offersOf(Admin, {
    status,
    listConnected: () => ({ peers: gateway.connected.map((peer) => ({ ...peer })) }),
    drain: drainAndTell,
  })
}
