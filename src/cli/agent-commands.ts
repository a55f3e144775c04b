import { Agent } from '../agent/agent.ts'
import { agentStatus, parseStatus } from '../agent/status.ts'
import { AGENT_SETTINGS } from '../config/agent-settings.ts'
import { askLocal, LocalListener } from '../transport/local-socket.ts'
import { agentCerts } from './agent-certs.ts'
import { agentEnroll } from './agent-enroll.ts'
import { configCommand } from './config-command.ts'
import { untilSignal } from './daemon.ts'
import type { AddCommand } from './program.ts'
import { addSettings, settingsOf } from './settings-options.ts'
import { statusText } from './status-text.ts'

const UNHEALTHY = 1

const run: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'run',
    'Run the daemon: keep a tunnel to the gateway, and serve calls, until SIGTERM.',
    (y) => addSettings(y, AGENT_SETTINGS),
    (args) => {
      const start = async (): Promise<number> => {
        const { values } = settingsOf(AGENT_SETTINGS, args, surroundings.environment)
        const ambient = surroundings.ambient(values['log.level'], 'agent')
        const agent = new Agent(values, ambient)
        const socket = new LocalListener(values['status.socket'], () =>
          JSON.stringify(agentStatus(agent, ambient.clock.wallMs())),
        )
        await socket.listen()
        agent.start()
        try {
          return await untilSignal(agent, ambient.logger, surroundings)
        } finally {
          socket.close()
        }
      }
      done(start())
    },
  )

const status: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'status',
    'Show whether the tunnel works. Exit 0: healthy, 1: degraded or down, 3: no daemon runs.',
    (y) =>
      y
        .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object.' })
        .option('socket', {
          type: 'string',
          requiresArg: true,
          describe: 'The status socket; default: status.socket of the settings.',
        })
        .option('config', {
          type: 'string',
          requiresArg: true,
          describe: 'The file of the daemon, to find its socket. (POSTERN_CONFIG)',
        })
        .option('status-socket', { type: 'string', requiresArg: true, hidden: true }),
    (args) => {
      const show = async (): Promise<number> => {
        const answer = parseStatus(await askLocal(socketPath(args, surroundings.environment)))
        surroundings.output.result(args.json ? JSON.stringify(answer) : statusText(answer))
        return answer.health === 'healthy' ? 0 : UNHEALTHY
      }
      done(show())
    },
  )

interface SocketArguments {
  readonly socket?: string | undefined
  readonly config?: string | undefined
  readonly 'status-socket'?: string | undefined
}

/** The file is read for its one key alone: status must work even where the rest is not in order. */
function socketPath(
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

export const AGENT_COMMANDS: readonly AddCommand[] = [
  run,
  agentEnroll,
  status,
  agentCerts,
  configCommand(AGENT_SETTINGS, (values, ambient) => new Agent(values, ambient)),
]
