import type { Argv } from 'yargs'
import type { Logger } from '../../base/logger.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { LeveledLogger } from './log.ts'
import type { Output } from './output.ts'

/** An ambient whose log level may change. */
export interface DaemonAmbient extends Ambient {
  readonly logger: Logger & Partial<Pick<LeveledLogger, 'setLevel' | 'recent'>>
}

/** What a command needs from outside; the two mains pass the real ones, tests their own. */
export interface Surroundings {
  readonly output: Output
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly nodeVersion: string
  ambient(level: string, name: string): DaemonAmbient
  /** Calls back at each SIGTERM, SIGINT or SIGHUP; the function returned stops that. */
  onSignal(callback: (signal: string) => void): () => void
  readStdin(): Promise<string>
}

/** One command: adds itself to the program; its handler resolves to an exit status. */
export type AddCommand = (
  yargs: Argv,
  surroundings: Surroundings,
  done: (status: Promise<number>) => void,
) => Argv
