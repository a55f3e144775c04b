import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { about, seen, type Finding, type Seen } from '../../base/finding.ts'
import {
  lookAtFileSystem,
  lookAtHardening,
  lookAtKey,
  lookAtMemory,
  lookAtMode,
} from '../../identity/at-rest.ts'
import { identityKeyFile } from '../credential/credential.ts'
import { recordDirectory } from '../guard/guard.ts'

/** Looks at what the agent keeps itself, and at its process. */
export function ownFindings(settings: AgentSettings): Finding[] {
  const { 'state.directory': state, 'events.spill': spill } = settings
  return [
    ...folder('state directory', state, keyFindings(settings)),
    ...folder('record', recordDirectory(settings), []),
    ...(spill === undefined
      ? []
      : folder('events', spill, [
          seen(
            'encryption at rest',
            'OK',
            `AES-256-GCM, with a key in ${join(state, 'events.key')}`,
          ),
        ])),
    ...about('agent', 'memory', lookAtMemory()),
    ...about('agent', 'process', lookAtHardening()),
  ]
}

function folder(area: string, path: string, more: readonly Seen[]): Finding[] {
  if (!existsSync(path)) return []
  return about(area, path, [lookAtMode(path), lookAtFileSystem(path), ...more])
}

function keyFindings(settings: AgentSettings): Seen[] {
  const path = identityKeyFile(settings)
  return path === undefined
    ? []
    : [lookAtKey(path) ?? seen('private key encrypted', 'UNKNOWN', 'it is not there yet')]
}
