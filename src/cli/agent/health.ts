import { PosternError, printable } from '../../base/errors.ts'
import { ASK_MS, askAgent, SOCKET_OPTIONS, socketPath } from '../place/place.ts'
import { command } from '../program/program.ts'

const UNHEALTHY = 1

/** For probes that run a command: one line, and an exit status. */
export const agentHealth = command({
  path: 'health',
  describe:
    'Answer a probe. Exit 0: the tunnel is up, healthy or degraded; 1: it is down; 3: no daemon runs.',
  options: {
    strict: { type: 'boolean', default: false, describe: 'Exit 1 when degraded, too.' },
    live: {
      type: 'boolean',
      default: false,
      describe: 'Exit 0 whenever the daemon answers: for probes that restart it.',
    },
    ...SOCKET_OPTIONS,
  },
  run: async ({ strict, live, ...args }, surroundings) => {
    const probe = async (): Promise<number> => {
      if (strict && live) throw new PosternError('USAGE', '--strict and --live exclude each other')
      const path = socketPath(args, surroundings.environment)
      const { health, reasons } = await askAgent(path, surroundings, (agent) =>
        agent.status({}, { timeoutMs: ASK_MS }),
      )
      surroundings.output.result(printable([health, ...reasons].join('; '), 1000))
      const isFine = live || health === 'healthy' || (health === 'degraded' && !strict)
      return isFine ? 0 : UNHEALTHY
    }
    const orNotYet = (error: unknown): number => {
      if (!(error instanceof PosternError) || error.code !== 'NOT_ENROLLED') throw error
      surroundings.output.result(`down; ${error.rawMessage}`)
      return live ? 0 : UNHEALTHY
    }
    return probe().catch(orNotYet)
  },
})
