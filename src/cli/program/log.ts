import { destination, pino, type Logger as PinoLogger } from 'pino'
import { visible } from '../../base/errors.ts'
import type { LogFacts, Logger } from '../../base/logger.ts'

/** A second guard: what is named like a secret is never printed, should anybody log it. */
const REDACT = [
  '*.keyPem',
  'keyPem',
  '*.token',
  'token',
  '*.passphrase',
  'passphrase',
  '*.authorization',
]
const STDERR = 2

const RANKS = { debug: 0, info: 1, warn: 2, error: 3 }
type Level = keyof typeof RANKS

/** A logger whose level may change while it is used, that of its children with it. */
export interface LeveledLogger extends Logger {
  setLevel(level: Level): void
  /** The last lines that were written, oldest first. */
  recent(): readonly string[]
}

const RECENT_MAX = 1000

/** JSON lines on stderr, written at once so that a crash loses none. */
export function makeLogger(level: string, name: string): LeveledLogger {
  const stderr = destination({ fd: STDERR, sync: true })
  const recent: string[] = []
  const both = {
    write: (line: string): void => {
      const text = visible(line)
      stderr.write(text)
      recent.push(text)
      if (recent.length > RECENT_MAX) recent.shift()
    },
  }
  const timestamp = pino.stdTimeFunctions.isoTime
  // Levels by name: the numbers of one library are nobody else's.
  const formatters = { level: (level: string) => ({ level }) }
  const base = pino({ name, level: 'debug', redact: REDACT, timestamp, formatters }, both)
  const least = { level: level as Level }
  const setLevel = (next: Level): void => {
    least.level = next
  }
  return { ...wrap(base, least), setLevel, recent: () => recent }
}

/** Facts of a line take the place of those of its logger, so that no name stands twice in it. */
function wrap(logger: PinoLogger, least: { readonly level: Level }, bound: LogFacts = {}): Logger {
  const at =
    (level: Level): Logger['info'] =>
    (facts, message) => {
      if (RANKS[level] >= RANKS[least.level]) logger[level]({ ...bound, ...facts }, message)
    }
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: (facts) => wrap(logger, least, { ...bound, ...facts }),
  }
}
