import { destination, pino, type Logger as PinoLogger } from 'pino'
import { visible } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'

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
  const base = pino({ name, level: 'debug', redact: REDACT, timestamp }, both)
  const least = { level: level as Level }
  const setLevel = (next: Level): void => {
    least.level = next
  }
  return { ...wrap(base, least), setLevel, recent: () => recent }
}

function wrap(logger: PinoLogger, least: { readonly level: Level }): Logger {
  const at =
    (level: Level): Logger['info'] =>
    (facts, message) => {
      if (RANKS[level] >= RANKS[least.level]) logger[level](facts, message)
    }
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: (facts) => wrap(logger.child(facts), least),
  }
}
