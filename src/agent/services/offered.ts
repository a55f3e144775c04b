import type { AgentSettings } from '../../config/agent-settings.ts'
import type { DataPlaneSettings } from '../../config/data-plane-settings.ts'
import type { Clock } from '../../base/clock.ts'
import { plainData, type CallData } from '../../contract/data-type.ts'
import { clusterOffers, type ClusterDescription } from '../../dataplane/cluster.ts'
import { diagnosticsOffers } from '../../dataplane/diagnostics.ts'
import { healthOffers, HealthBoard } from '../../dataplane/health.ts'
import type { Offer } from '../../rpc/service.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import { forwardRows, grpcRows } from '../../config/service-row.ts'
import { vendorMethods } from '../../dataplane/vendor/vendor.ts'
import { DataPlane } from './data-plane.ts'

/** Returns the methods that every agent offers to callers. */
export function methodOffers(
  health: HealthBoard,
  clock: Clock,
  describe: () => ClusterDescription = () => ({}),
): Offer[] {
  return [...healthOffers(health), ...diagnosticsOffers(clock), ...clusterOffers(describe)]
}

/** Returns what an agent with these services offers under a name, without running one; undefined: nothing. */
export function offeredData(
  settings: DataPlaneSettings & Pick<AgentSettings, 'services'>,
  ambient: Pick<Ambient, 'clock' | 'random' | 'logger'>,
  { name, isForward }: { readonly name: string; readonly isForward: boolean },
): (Pick<Offer, 'data'> & { readonly kind: Offer['handler']['kind'] }) | undefined {
  if (!isForward) {
    const own = methodOffers(new HealthBoard(), ambient.clock)
    const vendors = grpcRows(settings.services).flatMap((row) => vendorMethods(row).methods)
    const found = vendors.find((one) => one.name === name)
    if (found !== undefined) return { data: found.data, kind: found.kind }
    const all = [...own, ...new DataPlane(settings, ambient).offers]
    const offer = all.find((one) => one.name === name)
    return offer && { data: offer.data, kind: offer.handler.kind }
  }
  const service = forwardRows(settings.services).find((one) => one.name === name)
  const data: CallData | undefined = service && plainData(service.dataType)
  return data && { data, kind: 'forward' }
}
