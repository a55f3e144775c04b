import { postureOffers } from '../../agent/posture/posture.ts'
import { Agent } from '../../agent/agent.ts'
import { joinWhenNeeded } from '../../agent/enrolment/enrolment.ts'
import { asPosternError } from '../../base/errors.ts'
import {
  LastStatusKeeper,
  noteStart,
  offersBeforeEnrolment,
  operatorOffers,
} from '../../agent/control/control.ts'
import { AGENT_SETTINGS, type AgentSettings } from '../../config/agent-settings.ts'
import { LocalServer } from '../../tunnel/local-rpc.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { Tunnel } from '../../tunnel/tunnel.ts'
import type { MonitorListener } from '../../transport/monitor-listen.ts'
import {
  untilSignal,
  withCloudflared,
  withPassphrase,
  withToken,
  withProxy,
  tracerOf,
  SystemdNotify,
  type DaemonState,
} from '../daemon/daemon.ts'
import { type Surroundings, settingsOf, command } from '../program/program.ts'

/** What depends on the unit waits no longer than this for the first tunnel. */
const START_MS = 60_000
/** A try that is this late will not come. */
const STUCK_MS = 60_000

/** `agent run`: the daemon. */
export const agentRun = command({
  path: 'run',
  describe:
    'Run the daemon: keep a tunnel to the gateway, and serve calls, until SIGTERM. SIGHUP reads identity and settings anew.',
  settings: { table: AGENT_SETTINGS },
  options: {},
  run: async (args, surroundings) => {
    const { environment } = surroundings
    const read = (): AgentSettings => {
      const { values } = settingsOf(AGENT_SETTINGS, args, environment)
      const settings = withCloudflared(withToken(values, environment), environment)
      return withProxy(withPassphrase(settings, environment), environment)
    }

    const settings = read()
    try {
      return await runAgent(settings, read, surroundings)
    } catch (error) {
      // For agent status, which is all that is left to ask.
      const { clock } = surroundings.ambient('error', 'agent')
      noteStart(settings['state.directory'], asPosternError(error), clock.wallMs())
      throw error
    }
  },
})

async function runAgent(
  settings: AgentSettings,
  read: () => AgentSettings,
  surroundings: Surroundings,
): Promise<number> {
  const tracer = await tracerOf(settings, 'postern-agent')
  const ambient = { ...surroundings.ambient(settings['log.level'], 'agent'), tracer }
  // Open from the beginning: it answers while the agent enrols, and keeps the process.
  let notYet = 'it has just started'
  const local = new LocalServer(settings['status.socket'], ambient)
  for (const offer of offersBeforeEnrolment(() => notYet)) local.server.offer(offer)
  await local.listen()
  let state = (): DaemonState => ({ isReady: false, isAlive: true, text: 'starting' })
  const systemd = new SystemdNotify({
    environment: surroundings.environment,
    clock: ambient.clock,
    logger: ambient.logger,
    state: () => state(),
    startMs: START_MS,
  })
  systemd.start()
  try {
    const isJoined = await joined(settings, ambient, surroundings, (reason) => {
      notYet = reason
      state = () => ({ isReady: false, isAlive: true, text: `not enrolled yet: ${reason}` })
    })
    if (!isJoined) return 0
    const agent = new Agent(settings, ambient)
    const reload = async (): Promise<void> => {
      await agent.reload(read)
      ambient.logger.setLevel?.(agent.settings['log.level'])
    }
    const recentLog = (): readonly string[] => ambient.logger.recent?.() ?? []
    const { clock } = ambient
    for (const offer of operatorOffers({ agent, clock, reload, recentLog }))
      local.server.offer(offer)
    for (const offer of postureOffers({
      settings: () => agent.settings,
      clock,
      random: ambient.random,
    }))
      local.server.offer(offer)
    state = () => daemonState(agent, ambient.clock.wallMs())
    return await serve({ agent, reload }, ambient, settings, surroundings, systemd)
  } finally {
    local.close()
    await tracer?.close()
  }
}

/** Alive is what is up, or on its way to the next try: a tunnel that is stuck is restarted by systemd. */
function daemonState(agent: Agent, nowMs: number): DaemonState {
  const { health, reasons } = agent.health.report()
  const isAlive = ({ state }: Tunnel): boolean =>
    state.name !== 'backoff' || nowMs < state.untilWallMs + STUCK_MS
  return {
    isReady: health !== 'down',
    isAlive: agent.tunnels.all.some(isAlive),
    text: [health, ...reasons.map(({ text }) => text)].join('; '),
  }
}

/** False where a signal came first. */
async function joined(
  settings: AgentSettings,
  ambient: Ambient,
  surroundings: Surroundings,
  onFailure: (reason: string) => void,
): Promise<boolean> {
  const stop = new AbortController()
  const unsubscribe = surroundings.onSignal((signal) => {
    if (signal !== 'SIGHUP') stop.abort()
  })
  try {
    await joinWhenNeeded(settings, ambient, stop.signal, onFailure)
  } finally {
    unsubscribe()
  }
  return !stop.signal.aborted
}

async function serve(
  { agent, reload }: { agent: Agent; reload: () => Promise<void> },
  ambient: Ambient,
  settings: AgentSettings,
  surroundings: Surroundings,
  systemd: SystemdNotify,
): Promise<number> {
  const monitor = await listenForMonitoring(agent, ambient, settings)
  const { clock, logger } = ambient
  const keeper = new LastStatusKeeper({ agent, clock, logger })
  noteStart(settings['state.directory'], undefined, 0)
  agent.start()
  keeper.start()
  try {
    const daemon = {
      drain: () => agent.drain(),
      stop: () => {
        agent.stop()
      },
      reload,
    }
    return await untilSignal(daemon, ambient.logger, surroundings, systemd)
  } finally {
    keeper.stop()
    monitor?.close()
  }
}

/**
 * What metrics need is read only where somebody wants them: an idle agent is the smaller for it, by the
 * library and by `node:http`, whose ES module reads all of undici (10 MB).
 */
async function listenForMonitoring(
  agent: Agent,
  { clock }: Ambient,
  { 'metrics.listen': address }: AgentSettings,
): Promise<MonitorListener | undefined> {
  if (address === undefined) return undefined
  const { agentMetrics } = await import('../../agent/control/metrics.ts')
  const { MonitorListener } = await import('../../transport/monitor-listen.ts')
  const listener = new MonitorListener(address, {
    setting: 'metrics.listen',
    metrics: agentMetrics(agent, clock),
    state: () => daemonState(agent, clock.wallMs()),
  })
  await listener.listen()
  return listener
}
