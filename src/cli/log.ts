import { destination, pino, type Logger as PinoLogger } from 'pino'
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
}

/** JSON lines on stderr, written at once so that a crash loses none. */
export function makeLogger(level: string, name: string): LeveledLogger {
  const base = pino(
    { name, level: 'debug', redact: REDACT, timestamp: pino.stdTimeFunctions.isoTime },
    destination({ fd: STDERR, sync: true }),
  )
  const least = { level: level as Level }
  const setLevel = (next: Level): void => {
    least.level = next
  }
  return { ...wrap(base, least), setLevel }
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
