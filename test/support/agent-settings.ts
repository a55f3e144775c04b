import { AGENT_SETTINGS, type AgentSettings } from '../../src/config/agent-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { TRUST_DOMAIN } from './pki.ts'

/** The settings of an agent whose certificate lies in these files; the rest as by default, but for `flags`. */
export function agentSettings(
  files: KeyFilePaths,
  flags: Readonly<Record<string, string>> = {},
  rows: Partial<AgentSettings> = {},
): AgentSettings {
  const { values } = loadSettings(AGENT_SETTINGS, {
    flags: {
      trustDomain: TRUST_DOMAIN,
      'gateway.address': 'localhost:1',
      'identity.certificateFile': files.certificateFile,
      'identity.keyFile': files.keyFile,
      'identity.bundleFile': files.bundleFile,
      ...flags,
    },
    environment: {},
    file: undefined,
  })
  return { ...values, ...rows }
}
