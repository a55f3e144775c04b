import type { AgentSettings } from '../../config/agent-settings.ts'
import type { Clock } from '../../base/clock.ts'
import { plainData, type CallData } from '../../contract/data-type.ts'
import { diagnosticsOffers } from '../../dataplane/diagnostics.ts'
import { healthOffers, HealthBoard } from '../../dataplane/health.ts'
import type { Offer } from '../../rpc/service.ts'

/** Returns the methods that every agent offers to callers. */
export function methodOffers(health: HealthBoard, clock: Clock): Offer[] {
  return [...healthOffers(health), ...diagnosticsOffers(clock)]
}

/** Returns what an agent with these services offers under a name, without running one; undefined: nothing. */
export function offeredData(
  { services }: Pick<AgentSettings, 'services'>,
  clock: Clock,
  { name, isForward }: { readonly name: string; readonly isForward: boolean },
): (Pick<Offer, 'data'> & { readonly kind: Offer['handler']['kind'] }) | undefined {
  if (!isForward) {
    const offer = methodOffers(new HealthBoard(), clock).find((one) => one.name === name)
    return offer && { data: offer.data, kind: offer.handler.kind }
  }
  const service = services.find((one) => one.name === name)
  const data: CallData | undefined = service && plainData(service.dataType)
  return data && { data, kind: 'forward' }
}
