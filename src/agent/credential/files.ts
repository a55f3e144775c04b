import { PosternError } from '../../base/errors.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { Generations } from '../../identity/generations.ts'
import type { KeyFilePaths } from '../../identity/key-files.ts'

/** The settings that say where the agent's identity lies. */
export type IdentitySettings = Pick<
  AgentSettings,
  | 'state.directory'
  | 'identity.source'
  | 'identity.certificateFile'
  | 'identity.keyFile'
  | 'identity.bundleFile'
>

/** Whether the agent enrols and renews by itself. */
export function isManaged(settings: IdentitySettings): boolean {
  return namedFiles(settings) === undefined
}

/** Files that somebody else manages, where the settings name them. @throws CONFIG_INVALID */
export function namedFiles(settings: IdentitySettings): KeyFilePaths | undefined {
  const source = settings['identity.source']
  const certificateFile = settings['identity.certificateFile']
  const keyFile = settings['identity.keyFile']
  const bundleFile = settings['identity.bundleFile']
  const isNone = [certificateFile, keyFile, bundleFile].every((file) => file === undefined)
  if (source === 'enrolled') {
    if (isNone) return undefined
    throw new PosternError(
      'CONFIG_INVALID',
      'identity: source is enrolled, and yet files are named',
    )
  }
  if (certificateFile !== undefined && keyFile !== undefined && bundleFile !== undefined)
    return { certificateFile, keyFile, bundleFile }
  if (isNone && source === undefined) return undefined
  const text = 'identity: name certificateFile, keyFile and bundleFile, or none of them'
  throw new PosternError('CONFIG_INVALID', text)
}

/** What agent enroll put there. @throws NOT_ENROLLED */
export function enrolledFiles({ current }: Generations, settings: IdentitySettings): KeyFilePaths {
  if (current !== undefined) return current
  const folder = settings['state.directory']
  throw new PosternError('NOT_ENROLLED', `${folder} holds no identity`, { path: folder })
}

/** The private key of the identity; undefined: there is none yet. @throws CONFIG_INVALID */
export function identityKeyFile(settings: IdentitySettings): string | undefined {
  const named = namedFiles(settings)?.keyFile
  return named ?? new Generations(settings['state.directory']).current?.keyFile
}
