import {
  enrolledFiles,
  namedFiles,
  type IdentitySettings,
} from '../../agent/credential/credential.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { Generations } from '../../identity/generations.ts'
import type { KeyFilePaths } from '../../identity/key-files.ts'
import type { KeyProtection } from '../../identity/key-protection.ts'
import { protectionOf } from '../../identity/passphrase.ts'
import { type OptionTable, type Surroundings, settingsOf } from '../program/program.ts'
import { withPassphrase } from '../daemon/daemon.ts'

/** Where an agent's identity lies, for commands that read it without the daemon. */
export interface Located {
  readonly files: KeyFilePaths
  /** Renewed by the agent itself. */
  readonly isManaged: boolean
  /** How its key is encrypted; asked for by commands that read it. @throws what protectionOf throws */
  readonly protection: () => KeyProtection
}

interface PlaceArguments {
  readonly 'state-directory'?: string | undefined
  readonly config?: string | undefined
}

/** The options that say where an identity lies. */
export const PLACE_OPTIONS = {
  'state-directory': {
    type: 'string',
    describe: 'Where agent enroll kept it. (POSTERN_STATE_DIRECTORY)',
  },
  config: { type: 'string', describe: 'File of the daemon, to find it. (POSTERN_CONFIG)' },
} as const satisfies OptionTable

/**
 * Finds the files of an agent's identity: those that the settings name, or where enrolment has put them.
 * @throws NOT_ENROLLED, CONFIG_INVALID
 */
export function locate(args: PlaceArguments, { environment }: Surroundings): Located {
  const config = args.config ?? environment.POSTERN_CONFIG
  const flags = { ...args, config }
  const rows = {
    'state.directory': AGENT_SETTINGS['state.directory'],
    'identity.source': AGENT_SETTINGS['identity.source'],
    'identity.certificateFile': AGENT_SETTINGS['identity.certificateFile'],
    'identity.keyFile': AGENT_SETTINGS['identity.keyFile'],
    'identity.bundleFile': AGENT_SETTINGS['identity.bundleFile'],
    'identity.passphraseFile': AGENT_SETTINGS['identity.passphraseFile'],
    'identity.passphraseCommand': AGENT_SETTINGS['identity.passphraseCommand'],
  }
  const { values } =
    config === undefined
      ? settingsOf(rows, flags, environment)
      : settingsOf(AGENT_SETTINGS, flags, environment)
  const settings = withPassphrase(values, environment)
  const protection = (): KeyProtection => protectionOf(settings)
  const named = namedFiles(settings)
  if (named !== undefined) return { files: named, isManaged: false, protection }
  const identity: IdentitySettings = settings
  const files = enrolledFiles(new Generations(settings['state.directory']), identity)
  return { files, isManaged: true, protection }
}
