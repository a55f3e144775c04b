import { PosternError } from '../base/errors.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import type { Generations } from '../identity/generations.ts'
import type { KeyFilePaths } from '../identity/key-files.ts'

/** The settings that say where the agent's identity lies. */
export type IdentitySettings = Pick<
  AgentSettings,
  'state.directory' | 'identity.certificateFile' | 'identity.keyFile' | 'identity.bundleFile'
>

/** Files that somebody else manages, where the settings name them. @throws CONFIG_INVALID */
export function namedFiles(settings: IdentitySettings): KeyFilePaths | undefined {
  const certificateFile = settings['identity.certificateFile']
  const keyFile = settings['identity.keyFile']
  const bundleFile = settings['identity.bundleFile']
  if (certificateFile !== undefined && keyFile !== undefined && bundleFile !== undefined)
    return { certificateFile, keyFile, bundleFile }
  if ([certificateFile, keyFile, bundleFile].every((file) => file === undefined)) return undefined
  const text = 'identity: name certificateFile, keyFile and bundleFile, or none of them'
  throw new PosternError('CONFIG_INVALID', text)
}

/** What agent enroll put there. @throws NOT_ENROLLED */
export function enrolledFiles({ current }: Generations, settings: IdentitySettings): KeyFilePaths {
  if (current !== undefined) return current
  const folder = settings['state.directory']
  throw new PosternError('NOT_ENROLLED', `${folder} holds no identity`, { path: folder })
}
