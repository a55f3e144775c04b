import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { readSpent, type SpentBudgets } from '../../guard/budgets.ts'
import { FOR_OWNER, makeFolder, writeState } from '../../identity/state-files.ts'

const NAME = 'budgets.json'
const BYTES_MAX = 16 * 1024 * 1024

/** Reads what the budgets of the policy had spent; nothing where there is no such file, or none that can be read. */
export function loadSpent(stateDirectory: string): SpentBudgets {
  const path = join(stateDirectory, NAME)
  try {
    if (statSync(path).size > BYTES_MAX) return {}
    return readSpent(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    // None was kept, or it is spoilt: they begin anew.
    return {}
  }
}

/** Keeps what the budgets have spent. @throws STATE_UNWRITABLE */
export function saveSpent(stateDirectory: string, spent: SpentBudgets): void {
  makeFolder(stateDirectory)
  writeState(join(stateDirectory, NAME), `${JSON.stringify(spent)}\n`, FOR_OWNER)
}
