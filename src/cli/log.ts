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

/** JSON lines on stderr, written at once so that a crash loses none. */
export function makeLogger(level: string, name: string): Logger {
  const base = pino(
    { name, level, redact: REDACT, timestamp: pino.stdTimeFunctions.isoTime },
    destination({ fd: STDERR, sync: true }),
  )
  return wrap(base)
}

function wrap(logger: PinoLogger): Logger {
  return {
    error: (facts, message) => {
      logger.error(facts, message)
    },
    warn: (facts, message) => {
      logger.warn(facts, message)
    },
    info: (facts, message) => {
      logger.info(facts, message)
    },
    debug: (facts, message) => {
      logger.debug(facts, message)
    },
    child: (facts) => wrap(logger.child(facts)),
  }
}
