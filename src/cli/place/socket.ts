import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import type { SettingsOf } from '../../config/setting.ts'
import { type OptionTable, settingsOf } from '../program/program.ts'

/** The arguments that say where the socket of a daemon lies. */
export interface SocketArguments {
  readonly socket?: string | undefined
  readonly config?: string | undefined
  readonly 'status-socket'?: string | undefined
}

/** How the commands that ask the daemon find it. */
export const SOCKET_OPTIONS = {
  socket: {
    type: 'string',
    describe: 'The status socket; default: status.socket of the settings.',
  },
  config: {
    type: 'string',
    describe: 'The file of the daemon, to find its socket. (POSTERN_CONFIG)',
  },
  'status-socket': { type: 'string', describe: 'As --socket.', hidden: true },
} as const satisfies OptionTable

type Environment = Readonly<Record<string, string | undefined>>

const PLACES = {
  'status.socket': AGENT_SETTINGS['status.socket'],
  'state.directory': AGENT_SETTINGS['state.directory'],
}

/** Returns the path of the daemon's socket: named, or of its settings. */
export function socketPath(args: SocketArguments, environment: Environment): string {
  const explicit = args.socket ?? args['status-socket']
  return explicit ?? placesOf(args, environment)['status.socket']
}

/** Where the daemon keeps its state, and what was last known of it. */
export function statePath(args: SocketArguments, environment: Environment): string {
  return placesOf(args, environment)['state.directory']
}

/** The file is read for these keys alone: status must work even where the rest is not in order. */
function placesOf(
  { config }: SocketArguments,
  environment: Environment,
): SettingsOf<typeof PLACES> {
  return settingsOf(PLACES, { config }, environment, true).values
}
