import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { printable } from '../../base/errors.ts'
import { attempt, FOR_OWNER, makeFolder, writeState } from '../../identity/state-files.ts'

const NAME = 'lockdown.json'
const BYTES_MAX = 64 * 1024
const REASON_MAX = 500

/** A lockdown as it lies in the state of the agent: it holds over restarts and upgrades, and while no daemon runs. */
export interface Lockdown {
  /** ISO 8601. */
  readonly at: string
  readonly reason: string
  /** Whether the control plane is told the reason, too. */
  readonly tell: boolean
}

/** Reads whether an agent is locked down; undefined: it is not. A file that cannot be read locks it down. */
export function readLockdown(stateDirectory: string): Lockdown | undefined {
  const path = join(stateDirectory, NAME)
  const unread = { at: '', reason: `${path} cannot be read`, tell: false }
  try {
    if (statSync(path).size > BYTES_MAX) return unread
    const { at, reason, tell } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Lockdown>
    return { at: String(at), reason: printable(String(reason), REASON_MAX), tell: tell === true }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    return unread
  }
}

/** Locks an agent down from its next look on. @throws STATE_UNWRITABLE */
export function writeLockdown(stateDirectory: string, lockdown: Lockdown): void {
  makeFolder(stateDirectory)
  writeState(join(stateDirectory, NAME), `${JSON.stringify(lockdown)}\n`, FOR_OWNER)
}

/** Lifts a lockdown. @throws STATE_UNWRITABLE */
export function liftLockdown(stateDirectory: string): void {
  const path = join(stateDirectory, NAME)
  attempt(path, () => {
    rmSync(path, { force: true })
  })
}
