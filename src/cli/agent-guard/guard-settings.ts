import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { DATA_PLANE_SETTINGS } from '../../config/data-plane-settings.ts'
import type { SettingsOf } from '../../config/setting.ts'

/** The settings that say what the policy of an agent is, and where its state lies. */
export const GUARD_SETTINGS = {
  'policy.file': AGENT_SETTINGS['policy.file'],
  allow: AGENT_SETTINGS.allow,
  services: AGENT_SETTINGS.services,
  ...DATA_PLANE_SETTINGS,
  'state.directory': AGENT_SETTINGS['state.directory'],
  'status.socket': AGENT_SETTINGS['status.socket'],
}

/** Their values. */
export type GuardSettings = SettingsOf<typeof GUARD_SETTINGS>
