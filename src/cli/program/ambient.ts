import type { Logger } from '../../base/logger.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { LeveledLogger } from './log.ts'
import type { Output } from './output.ts'

/** An ambient whose log level may change. */
export interface DaemonAmbient extends Ambient {
  readonly logger: Logger & Partial<Pick<LeveledLogger, 'setLevel' | 'recent'>>
}

/** The machine as a command sees it; the two mains pass the real one, tests their own. */
export interface Surroundings {
  readonly output: Output
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly nodeVersion: string
  ambient(level: string, name: string): DaemonAmbient
  /** Calls back at each SIGTERM, SIGINT or SIGHUP; the function returned stops that. */
  onSignal(callback: (signal: string) => void): () => void
  readStdin(): Promise<string>
}
