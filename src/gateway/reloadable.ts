import type { GatewaySettings } from '../config/gateway-settings.ts'

/** The settings that take effect without a restart. */
const RELOADABLE = [
  ...(['agents.address', 'agents.fronts', 'callers.roles', 'enroll.jwt', 'peers', 'zone'] as const),
  ...(['api.issuers', 'api.domain', 'api.origins', 'api.connectionAge', 'trustedProxies'] as const),
]

/** Returns settings in force with those of the next that need no restart. */
export function reloaded(now: GatewaySettings, next: GatewaySettings): GatewaySettings {
  const taken = RELOADABLE.map((key) => [key, next[key]] as const)
  return { ...now, ...Object.fromEntries(taken) }
}
