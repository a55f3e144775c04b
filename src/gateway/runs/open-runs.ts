import type { Clock } from '../../base/clock.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import type { Database } from '../../store/records.ts'
import { RunBook } from './run-book.ts'
import { RunIntake } from './run-intake.ts'

/** Of a gateway with a store: what it keeps of runs, and by which way it comes in. */
export interface Runs {
  readonly book: RunBook
  readonly intake: RunIntake
}

/** The store, and what takes a task that is done again and again. */
export interface RunsGround {
  readonly records: { readonly database: Database }
  addTask(task: () => Promise<void>): void
}

/** Makes both, and lets go of what is old. */
export function openRuns(ground: RunsGround, settings: GatewaySettings, clock: Clock): Runs {
  const keepMs = settings['records.runsKeep']
  const bounds = { countMax: settings['records.runsMax'], bytesMax: settings['records.runsBytes'] }
  const book = new RunBook(ground.records.database, clock, bounds)
  ground.addTask(async () => {
    await book.prune(clock.wallMs() - keepMs)
  })
  return { book, intake: new RunIntake(book, clock) }
}
