import { addressText } from '../../base/address.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'

/** What a peer hears that dialled the listener of the others: where its own is. */
export function wrongPort(
  settings: GatewaySettings,
  key: 'agents.listen' | 'callers.listen',
): string {
  const [here, others, theirs] =
    key === 'agents.listen'
      ? (['agents', 'callers', 'callers.listen'] as const)
      : (['callers', 'agents', 'agents.listen'] as const)
  return `this is where ${here} dial (${key}); ${others} dial ${theirs}, which is ${addressText(settings[theirs])}`
}
