import { plainData } from '../../src/contract/data-type.ts'
import { Agent } from '../../src/agent/agent.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { NO_RECORD } from '../../src/guard/recorder.ts'
import type { MuxStream } from '../../src/mux/stream.ts'
import { loadSettings } from '../../src/config/load.ts'
import { sleep } from '../measure.ts'

const CHUNK = Buffer.alloc(64 * 1024, 1)
const agents: Agent[] = []

/** Starts an agent with these settings, serving raw bytes in every way that is measured. */
async function start({ record = 'kept', ...flags }: Record<string, string>): Promise<void> {
  const { values } = loadSettings(AGENT_SETTINGS, { flags, environment: {}, file: undefined })
  const ambient = { clock: systemClock, random: systemRandom, logger: silentLogger }
  const agent = new Agent(values, ambient, record === 'none' ? NO_RECORD : undefined)
  const data = plainData('cluster-record')
  agent.services.server.offer({
    name: 'bench.Bench/Echo',
    data,
    handler: { kind: 'unary', handle: (request) => request },
  })
  agent.services.server.offer({
    name: 'bench.Bench/Down',
    data,
    handler: {
      kind: 'serverStream',
      async *handle(_request, context) {
        while (!context.signal.aborted) yield await Promise.resolve(CHUNK)
      },
    },
  })
  agent.services.server.offer({
    name: 'bench-source',
    data,
    handler: { kind: 'forward', handle: pour },
  })
  agents.push(agent)
  agent.start()
  while (agent.tunnel.state.name !== 'ready') await sleep(1)
}

/** A byte stream without end. */
async function pour(stream: MuxStream): Promise<void> {
  await new Promise<void>((resolve) => {
    const fill = (): void => {
      while (!stream.isClosed && stream.write(CHUNK));
    }
    const done = (): void => {
      resolve()
    }
    const ignore = (): void => undefined
    stream.accept({
      onAccept: ignore,
      onData: ignore,
      onEnd: ignore,
      onTrailer: ignore,
      onRefuse: done,
      onReset: done,
      onStop: done,
      onWritable: fill,
    })
    fill()
  })
}

/** Resident memory, after a collection. */
async function memory(): Promise<number> {
  globalThis.gc?.()
  return await Promise.resolve(process.memoryUsage.rss())
}

function stop(): Promise<void> {
  for (const agent of agents) agent.stop()
  agents.length = 0
  return Promise.resolve()
}

/** The pin of the key that the agent seals with. */
function pin(): Promise<string> {
  return Promise.resolve(agents[0]?.seal.report().pin ?? '')
}

export const role = { start, stop, memory, pin }
