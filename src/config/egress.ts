import type { AgentSettings } from './agent-settings.ts'
import { readSecretFile } from '../identity/key-files.ts'
import { Egress } from '../transport/egress.ts'

/** The settings that say how the agent gets out of its network. */
export type EgressSettings = Pick<
  AgentSettings,
  'gateway.proxy' | 'gateway.proxyPasswordFile' | 'gateway.noProxy'
>

/**
 * Makes the way out that the settings name: directly, or through a proxy with its password.
 * @throws CONFIG_INVALID, and what readSecretFile throws
 */
export function egressOf(settings: EgressSettings): Egress {
  const file = settings['gateway.proxyPasswordFile']
  const password = file === undefined ? undefined : readSecretFile(file).split(/\r?\n/)[0]
  return new Egress({
    proxy: settings['gateway.proxy'],
    noProxy: settings['gateway.noProxy'],
    ...(password === undefined ? {} : { password }),
  })
}
