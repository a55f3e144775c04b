import {
  liftLockdown,
  readLockdown,
  recordDirectory,
  writeLockdown,
} from '../../agent/guard/guard.ts'
import type { HandedOut } from '../../audit/handed-out.ts'
import { PosternError } from '../../base/errors.ts'
import {
  ASK_MS,
  askAgent,
  SOCKET_OPTIONS,
  socketPath,
  statePath,
  type SocketArguments,
} from '../place/place.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { command, JSON_OPTION, settingsOf, type Surroundings } from '../program/program.ts'

const PLACES = {
  'audit.directory': AGENT_SETTINGS['audit.directory'],
  'state.directory': AGENT_SETTINGS['state.directory'],
}

/** `agent lockdown`: the customer's kill switch. */
export const agentLockdown = command({
  path: 'lockdown',
  describe:
    'End all calls and forwards at once, and let none begin: the tunnel stays for health alone. It holds over restarts and upgrades, and works while no daemon runs. The control plane sees that it is locked, and cannot lift it. For a whole cluster, say lockdown in the policy file.',
  options: {
    reason: { type: 'string', describe: 'Why, for people on this side.' },
    tell: { type: 'boolean', default: false, describe: 'Tell the control plane the reason, too.' },
    lift: { type: 'boolean', default: false, describe: 'Lift it.' },
    ...SOCKET_OPTIONS,
    ...JSON_OPTION,
  },
  examples: [
    ['$0 lockdown --reason "incident 4711"', 'nothing passes any more'],
    ['$0 lockdown --lift', 'calls pass again, as the policy says'],
  ],
  run: async (args, surroundings) => {
    const { environment, output } = surroundings
    const { reason, tell, lift, json } = args
    if (lift && (reason !== undefined || tell))
      throw new PosternError('USAGE', '--lift goes with no other option')
    const folder = statePath(args, environment)
    const nowMs = surroundings.ambient('error', 'lockdown').clock.wallMs()
    const at = new Date(nowMs).toISOString()
    if (lift) liftLockdown(folder)
    else writeLockdown(folder, { at, reason: reason ?? 'by an operator', tell })
    const running = await applied(args, surroundings)
    const held = lift ? running?.lockdown : readLockdown(folder)?.reason
    const urls = held === undefined || lift ? [] : await stillOut(args, surroundings, nowMs)
    if (json) {
      const facts = {
        locked: held !== undefined,
        reason: held ?? null,
        running: running !== undefined,
        handedOut: urls.map(({ untilMs, ...one }) => ({
          ...one,
          until: new Date(untilMs).toISOString(),
        })),
      }
      output.result(JSON.stringify(facts))
    } else {
      output.result(textOf(held, running !== undefined, lift))
      await tellUrls(urls, output)
    }
    return 0
  },
})

/** What was handed out before, and works whatever the agent does. */
async function stillOut(
  { config }: SocketArguments,
  { environment }: Surroundings,
  nowMs: number,
): Promise<readonly HandedOut[]> {
  const { handedOut } = await import('../../audit/handed-out.ts')
  const { values } = settingsOf(PLACES, { config }, environment, true)
  return await handedOut(recordDirectory(values), nowMs)
}

async function tellUrls(urls: readonly HandedOut[], output: Surroundings['output']): Promise<void> {
  const { howToRevoke } = await import('../../audit/handed-out.ts')
  for (const { store, backend, count, untilMs } of urls) {
    const until = new Date(untilMs).toISOString()
    output.result(
      `handed out before, and good until they end: ${String(count)} URLs of store ${store}, the last until ${until}`,
    )
    output.result(`  to end them now: ${howToRevoke(backend)}`)
  }
}

/** Has the daemon look at once; undefined: none runs, and it will when it starts. */
async function applied(
  args: SocketArguments,
  surroundings: Surroundings,
): Promise<{ lockdown: string | undefined } | undefined> {
  try {
    const { lockdown } = await askAgent(
      socketPath(args, surroundings.environment),
      surroundings,
      (agent) => agent.applyLockdown({}, { timeoutMs: ASK_MS }),
    )
    return { lockdown }
  } catch (error) {
    const codes = ['DAEMON_NOT_RUNNING', 'NOT_ENROLLED']
    if (error instanceof PosternError && codes.includes(error.code)) return undefined
    throw error
  }
}

function textOf(held: string | undefined, isRunning: boolean, isLifted: boolean): string {
  if (held === undefined)
    return isRunning ? 'lifted: calls pass as the policy says' : 'lifted; no daemon runs'
  if (isLifted) return `the policy still locks it down: ${held}`
  return isRunning
    ? `locked down: ${held}\nall calls and forwards have ended; the tunnel stays for health`
    : `locked down: ${held}\nno daemon runs; it will hold when one starts`
}
