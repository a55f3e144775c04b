import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
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
  writeState(join(stateDirectory, NAME), textOf(lockdown), FOR_OWNER)
}

/** Lifts a lockdown where it is still this one, and no other that somebody has set meanwhile. @throws STATE_UNWRITABLE */
export function liftLockdownOf(stateDirectory: string, lockdown: Lockdown): void {
  const path = join(stateDirectory, NAME)
  const aside = `${path}.lifted`
  attempt(path, () => {
    // Somebody has lifted it meanwhile.
    if (!existsSync(path)) return
    // Taken away first, so that nothing can take its place between the look and the end of it.
    renameSync(path, aside)
    const isSame = readFileSync(aside, 'utf8') === textOf(lockdown)
    if (isSame) rmSync(aside)
    else renameSync(aside, path)
  })
}

function textOf(lockdown: Lockdown): string {
  return `${JSON.stringify(lockdown)}\n`
}

/** Lifts a lockdown. @throws STATE_UNWRITABLE */
export function liftLockdown(stateDirectory: string): void {
  const path = join(stateDirectory, NAME)
  attempt(path, () => {
    rmSync(path, { force: true })
  })
}
