import { Agent } from '../agent/agent.ts'
import { judgeJoin } from '../agent/join.ts'
import { parseAnswer } from '../base/local-answer.ts'
import type { AgentStatus } from '../agent/status.ts'
import { PosternError } from '../base/errors.ts'
import { AGENT_SETTINGS } from '../config/agent-settings.ts'
import { askLocal } from '../transport/local-socket.ts'
import { agentCerts } from './agent-certs.ts'
import { agentEnroll } from './agent-enroll.ts'
import { configCommand } from './config-command.ts'
import { agentHealth } from './agent-health.ts'
import { agentDoctor } from './agent-doctor.ts'
import { agentRun } from './agent-run.ts'
import { SOCKET_OPTIONS, socketPath } from './agent-socket.ts'
import type { AddCommand } from './program.ts'
import { statusText } from './status-text.ts'
import { withPassphrase, withToken } from './systemd-credentials.ts'
import { withProxy } from './proxy-environment.ts'

const UNHEALTHY = 1

const status: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'status',
    'Show whether the tunnel works. Exit 0: healthy, 1: degraded or down, 3: no daemon runs.',
    (y) =>
      y
        .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object.' })
        .options(SOCKET_OPTIONS),
    (args) => {
      const show = async (): Promise<number> => {
        const path = socketPath(args, surroundings.environment)
        const answer = parseAnswer(await askLocal(path, 'status')) as AgentStatus
        surroundings.output.result(args.json ? JSON.stringify(answer) : statusText(answer))
        return answer.health === 'healthy' ? 0 : UNHEALTHY
      }
      const orNotYet = (error: unknown): number => {
        // It runs, and is down until it has enrolled.
        if (!(error instanceof PosternError) || error.code !== 'NOT_ENROLLED') throw error
        surroundings.output.note(`agent: ${error.message}`)
        return UNHEALTHY
      }
      done(show().catch(orNotYet))
    },
  )

export const AGENT_COMMANDS: readonly AddCommand[] = [
  agentRun,
  agentEnroll,
  status,
  agentHealth,
  agentCerts,
  agentDoctor,
  configCommand(AGENT_SETTINGS, (values, ambient, environment) => {
    const settings = withProxy(
      withPassphrase(withToken(values, environment), environment),
      environment,
    )
    try {
      new Agent(settings, ambient)
    } catch (error) {
      // Without an identity yet, what it will join with is judged in its place.
      if (!(error instanceof PosternError) || error.code !== 'NOT_ENROLLED') throw error
      judgeJoin(settings)
    }
  }),
]
