export { openRuns, type Runs } from './open-runs.ts'
export { RunBook } from './run-book.ts'
export { RunIntake } from './run-intake.ts'
export { runOffers } from './run-offers.ts'
