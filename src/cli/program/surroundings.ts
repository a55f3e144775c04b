import { text } from 'node:stream/consumers'
import { systemRandom } from '../../base/random.ts'
import { systemClock } from '../../base/system-clock.ts'
import { onFault } from '../../transport/edge.ts'
import { signalsAreHeard } from './early-signals.ts'
import { makeLogger } from './log.ts'
import { processOutput } from './output.ts'
import type { Surroundings } from './ambient.ts'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** The surroundings of a real process: its argv, environment, streams, signals and clock. */
export const processSurroundings: Surroundings = {
  output: processOutput,
  environment: process.env,
  nodeVersion: process.versions.node,
  ambient: (level, name) => {
    const logger = makeLogger(level, name)
    onFault(({ code, cause }) => {
      logger.error({ code, err: cause }, 'a handler of ours failed: its connection is closed')
    })
    return { clock: systemClock, random: systemRandom, logger }
  },
  onSignal: (callback) => {
    for (const signal of SIGNALS) process.on(signal, callback)
    signalsAreHeard()
    return () => {
      for (const signal of SIGNALS) process.off(signal, callback)
    }
  },
  readStdin: () => text(process.stdin),
}
