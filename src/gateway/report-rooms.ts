import type { GatewaySettings } from '../config/gateway-settings.ts'
import type { Ground, Rooms } from './compose.ts'
import type { GatewayReport } from './control/control.ts'

/** Sums up what the rooms of a gateway say of themselves. It changes nothing. */
export function reportRooms(
  { ca, registry, admission, callers, api, enrolment, fronts }: Rooms,
  {
    own,
    parts,
    access,
    isDraining,
  }: Omit<Ground, 'settings' | 'ambient'> & { isDraining: boolean },
  { peers, 'records.file': store }: GatewaySettings,
): GatewayReport {
  const { reservedBytes, bytesMax } = parts.budget
  return {
    isDraining,
    hasOwnStoreAmongPeers: peers.length > 0 && store !== undefined,
    buffers: { reservedBytes, bytesMax },
    own: own.report(),
    clusters: registry.report(),
    callers: callers.report(),
    api: api.report(),
    fronts: fronts.report(),
    deferred: admission.refused,
    access: access?.report(),
    ca: ca?.report(),
    enrolment: enrolment?.answers ?? new Map<string, number>(),
  }
}
