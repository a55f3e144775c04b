import { readFailedStart, readLastStatus, type AgentStatus } from '../../agent/control/control.ts'
import { PosternError } from '../../base/errors.ts'
import { parseAnswer } from '../../base/local-answer.ts'
import { askLocal } from '../../transport/local-socket.ts'
import { SOCKET_OPTIONS, socketPath, statePath, type SocketArguments } from '../place/place.ts'
import { type Surroundings, command, JSON_OPTION } from '../program/program.ts'
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
  run: (args, surroundings) =>
    args.watch ? watch(args, surroundings) : show(args, surroundings, 'status'),
})

async function watch(args: StatusArguments, surroundings: Surroundings): Promise<number> {
  let isOver = false
  const unsubscribe = surroundings.onSignal(() => {
    isOver = true
  })
  const stopped = (): boolean => isOver
  try {
    for (let order = 'status'; ; order = 'watch') {
      const status = await show(args, surroundings, order, args.json ? '' : CLEAR)
      if (stopped() || status === NOT_RUNNING) return status
    }
  } finally {
    unsubscribe()
  }
}

async function show(
  args: StatusArguments,
  surroundings: Surroundings,
  order: string,
  before = '',
): Promise<number> {
  const { output, environment } = surroundings
  const print = (text: string): void => {
    output.result(`${before}${text}`)
  }
  try {
    const answer = parseAnswer(await askLocal(socketPath(args, environment), order)) as AgentStatus
    print(args.json ? JSON.stringify({ running: true, ...answer }) : statusText(answer))
    return answer.health === 'healthy' ? 0 : UNHEALTHY
  } catch (error) {
    if (!(error instanceof PosternError)) throw error
    if (error.code === 'DAEMON_NOT_RUNNING') return showLast(args, surroundings, error)
    // It runs, and is down until it has enrolled.
    if (error.code !== 'NOT_ENROLLED') throw error
    output.note(`agent: ${error.message}`)
    return UNHEALTHY
  }
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
      last: last?.status ?? null,
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
