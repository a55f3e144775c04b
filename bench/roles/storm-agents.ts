import { NO_RECORD } from '../../src/guard/recorder.ts'
import { Agent } from '../../src/agent/agent.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { loadSettings } from '../../src/config/load.ts'

const agents: Agent[] = []

/** Starts one real agent for each set of flags. */
function start(flags: readonly Record<string, string>[]): Promise<void> {
  const ambient = { clock: systemClock, random: systemRandom, logger: silentLogger }
  for (const one of flags) {
    const { values } = loadSettings(AGENT_SETTINGS, {
      flags: one,
      environment: {},
      file: undefined,
    })
    const agent = new Agent(values, ambient, NO_RECORD)
    agents.push(agent)
    agent.start()
  }
  return Promise.resolve()
}

function ready(): Promise<number> {
  return Promise.resolve(agents.filter(({ tunnels }) => tunnels.ready.length > 0).length)
}

export const role = { start, ready }
