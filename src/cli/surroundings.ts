import { text } from 'node:stream/consumers'
import { systemRandom } from '../base/random.ts'
import { systemClock } from '../base/system-clock.ts'
import { makeLogger } from './log.ts'
import { processOutput } from './output.ts'
import type { Surroundings } from './program.ts'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** The real machine. */
export const processSurroundings: Surroundings = {
  output: processOutput,
  environment: process.env,
  nodeVersion: process.versions.node,
  ambient: (level, name) => ({
    clock: systemClock,
    random: systemRandom,
    logger: makeLogger(level, name),
  }),
  onSignal: (callback) => {
    for (const signal of SIGNALS) process.on(signal, callback)
    return () => {
      for (const signal of SIGNALS) process.off(signal, callback)
    }
  },
  readStdin: () => text(process.stdin),
}
