import { AGENT_SETTINGS } from '../config/agent-settings.ts'
import { settingsOf } from './settings-options.ts'

export interface SocketArguments {
  readonly socket?: string | undefined
  readonly config?: string | undefined
  readonly 'status-socket'?: string | undefined
}

/** How the commands that ask the daemon find it. */
export const SOCKET_OPTIONS = {
  socket: {
    type: 'string',
    requiresArg: true,
    describe: 'The status socket; default: status.socket of the settings.',
  },
  config: {
    type: 'string',
    requiresArg: true,
    describe: 'The file of the daemon, to find its socket. (POSTERN_CONFIG)',
  },
  'status-socket': { type: 'string', requiresArg: true, hidden: true },
} as const

/** The file is read for its one key alone: status must work even where the rest is not in order. */
export function socketPath(
  args: SocketArguments,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const explicit = args.socket ?? args['status-socket']
  if (explicit !== undefined) return explicit
  const file = args.config ?? environment.POSTERN_CONFIG
  if (file === undefined) {
    return settingsOf({ 'status.socket': AGENT_SETTINGS['status.socket'] }, {}, environment).values[
      'status.socket'
    ]
  }
  return settingsOf(AGENT_SETTINGS, { config: file }, environment).values['status.socket']
}
