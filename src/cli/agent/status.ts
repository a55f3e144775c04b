import { readFailedStart, readLastStatus } from '../../agent/control/control.ts'
import { PosternError } from '../../base/errors.ts'
import { AgentStatusSchema, type AgentStatus } from '../../gen/postern/v1/agent_control_pb.js'
import {
  ASK_MS,
  askAgent,
  messageJson,
  SOCKET_OPTIONS,
  socketPath,
  statePath,
  type SocketArguments,
} from '../place/place.ts'
import { type Surroundings, command, JSON_OPTION, type Output } from '../program/program.ts'
import { statusText } from './status-text.ts'

const UNHEALTHY = 1
const NOT_RUNNING = 3
/** Home, and clear to the end of the screen (ECMA-48). */
const CLEAR = '\u001b[H\u001b[2J'

interface StatusArguments extends SocketArguments {
  readonly json: boolean
  readonly watch: boolean
}

/** `agent status`: does it work, since when, to where, how well, what needs attention, what happened lately. */
export const agentStatusCommand = command({
  path: 'status',
  describe:
    'Show whether the tunnel works, and what happened lately. Exit 0: healthy, 1: degraded or down, 3: no daemon runs; then the last known state is shown. docs/STATUS.md describes --json.',
  options: {
    ...JSON_OPTION,
    watch: {
      type: 'boolean',
      default: false,
      describe: 'Print it again each second, until Ctrl-C; with --json a line each time.',
    },
    ...SOCKET_OPTIONS,
  },
  run: (args, surroundings) => (args.watch ? watch(args, surroundings) : show(args, surroundings)),
})

/** Prints each status that the daemon tells, until a signal or its end. */
async function watch(args: StatusArguments, surroundings: Surroundings): Promise<number> {
  const stop = new AbortController()
  const unsubscribe = surroundings.onSignal(() => {
    stop.abort()
  })
  const path = socketPath(args, surroundings.environment)
  let exit = UNHEALTHY
  try {
    await askAgent(path, surroundings, async (agent) => {
      for await (const status of agent.watchStatus({}, { signal: stop.signal }))
        exit = print(status, args, surroundings.output, args.json ? '' : CLEAR)
    })
    return exit
  } catch (error) {
    return stop.signal.aborted ? exit : orNotThere(error, args, surroundings)
  } finally {
    unsubscribe()
  }
}

async function show(args: StatusArguments, surroundings: Surroundings): Promise<number> {
  try {
    const path = socketPath(args, surroundings.environment)
    const status = await askAgent(path, surroundings, (agent) =>
      agent.status({}, { timeoutMs: ASK_MS }),
    )
    return print(status, args, surroundings.output)
  } catch (error) {
    return orNotThere(error, args, surroundings)
  }
}

/** Returns the exit status that it stands for. */
function print(status: AgentStatus, args: StatusArguments, output: Output, before = ''): number {
  const json = (): string =>
    JSON.stringify({ running: true, ...messageJson(AgentStatusSchema, status) })
  output.result(`${before}${args.json ? json() : statusText(status)}`)
  return status.health === 'healthy' ? 0 : UNHEALTHY
}

/** @throws the error, unless it says that no daemon runs, or that it has not enrolled yet */
function orNotThere(error: unknown, args: StatusArguments, surroundings: Surroundings): number {
  if (!(error instanceof PosternError)) throw error
  if (error.code === 'DAEMON_NOT_RUNNING') return showLast(args, surroundings, error)
  // It runs, and is down until it has enrolled.
  if (error.code !== 'NOT_ENROLLED') throw error
  surroundings.output.note(`agent: ${error.message}`)
  return UNHEALTHY
}

/** No daemon answers: what was last known of it, and where to read more. */
function showLast(
  args: StatusArguments,
  { output, environment }: Surroundings,
  error: PosternError,
): number {
  output.note(`agent: ${error.message}`)
  const folder = statePath(args, environment)
  const last = readLastStatus(folder)
  const failed = readFailedStart(folder)
  if (args.json) {
    const known = {
      running: false,
      savedAt: last?.savedAt ?? null,
      failedStart: failed ?? null,
      last: last === undefined ? null : messageJson(AgentStatusSchema, last.status),
    }
    output.result(JSON.stringify(known))
    return NOT_RUNNING
  }
  if (failed !== undefined)
    output.note(`agent: the last start failed, at ${failed.at}: [${failed.code}] ${failed.text}`)
  output.note('agent: its log is on its stderr; under systemd: journalctl -u postern-agent')
  if (last === undefined) return NOT_RUNNING
  output.result(
    `not running; what was last known, at ${last.savedAt}:\n\n${statusText(last.status)}`,
  )
  return NOT_RUNNING
}
