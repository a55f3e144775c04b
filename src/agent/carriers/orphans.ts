import { existsSync, readFileSync, rmSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { FOR_OWNER, writeState } from '../../identity/state-files.ts'

const NAME = 'cloudflared.pid'
const SETPRIV = '/usr/bin/setpriv'
const ASK_MS = 5000

let known: readonly string[] | undefined

/** Words before a command that make it die with us, where this machine can: even by SIGKILL we leave no orphan. */
export function dieWithParent(): readonly string[] {
  known ??= askedOnce()
  return known
}

function askedOnce(): readonly string[] {
  const words = [SETPRIV, '--pdeathsig', 'KILL', '--']
  if (!existsSync(SETPRIV)) return []
  try {
    execFileSync(SETPRIV, [...words.slice(1), '/bin/true'], { timeout: ASK_MS, stdio: 'ignore' })
    return words
  } catch {
    // An old one does not know the flag: what is left over is ended at the next start.
    return []
  }
}

/** Notes which process was started, to be ended at the next start where we could not. */
export function noteChild(folder: string, pid: number): void {
  const startedAt = startOf(pid)
  if (startedAt === undefined) return
  try {
    writeState(join(folder, NAME), `${String(pid)} ${startedAt}\n`, FOR_OWNER)
  } catch {
    // A disk that takes nothing is told of by the record and the keys: the kernel, or the next start, still has other means.
  }
}

/** Ends what an earlier run has left over: the same process, and not another that has its number now. Returns whether there was one. */
export function endOrphan(folder: string): boolean {
  const path = join(folder, NAME)
  try {
    const [, pid = '', startedAt = ''] = /^(\d+) (\d+)\n$/.exec(readFileSync(path, 'utf8')) ?? []
    rmSync(path)
    if (pid === '' || startOf(Number(pid)) !== startedAt) return false
    process.kill(Number(pid), 'SIGKILL')
    return true
  } catch {
    // There is no such file, or no such process any more.
    return false
  }
}

/** When a process was started, in ticks since the boot of the machine (proc_pid_stat(5), field 22). */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    // It has ended, or this machine has no /proc.
    return undefined
  }
}
