import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { notShown, shown, type Experiment } from './experiment.ts'

const LISTENING = '0A'
const FILE_BYTES_MAX = 256 * 1024 * 1024
const FILES_MAX = 100_000

/** Whether the daemon listens on anything but what its settings name. `allowed`: ports of its own monitor. */
export function listenerExperiment(pid: number, allowed: readonly number[]): Experiment {
  const [name, promise] = ['listeners', 'nobody can reach in, as the agent only dials out']
  try {
    const inodes = socketsOf(pid)
    const ports = ['tcp', 'tcp6'].flatMap((kind) => listeningPorts(pid, kind, inodes))
    const others = ports.filter((port) => !allowed.includes(port))
    if (others.length > 0)
      return shown(name, promise, false, `it listens on TCP port ${others.join(', ')}`)
    const own =
      ports.length === 0 ? '' : `, and on ${ports.join(', ')} for its metrics, as its settings say`
    return shown(
      name,
      promise,
      true,
      `process ${String(pid)} listens on its unix socket alone${own}`,
    )
  } catch (error) {
    return notShown(name, promise, `its sockets cannot be seen: ${(error as Error).message}`)
  }
}

/** Whether the memory of the daemon can come to a disk: by a core dump, or by swap. */
export function memoryExperiment(pid: number): Experiment {
  const [name, promise] = ['memory', 'memory of the agent comes to no disk']
  try {
    const limits = readFileSync(`/proc/${String(pid)}/limits`, 'utf8')
    const core = /^Max core file size\s+(\S+)/m.exec(limits)?.[1] ?? 'unknown'
    const swaps = readFileSync('/proc/swaps', 'utf8').trim().split('\n').length - 1
    const swap = swapMax(pid)
    const isSwapOff = swaps === 0 || swap === '0'
    const evidence = `core dumps up to ${core} bytes, ${swaps === 0 ? 'no swap on this machine' : `swap of its group up to ${swap}`}`
    // A process that cannot be dumped makes no core whatever its limit.
    if (core === '0' && isSwapOff) return shown(name, promise, true, evidence)
    return notShown(
      name,
      promise,
      `${evidence}; the systemd unit sets LimitCORE=0 and MemorySwapMax=0`,
    )
  } catch (error) {
    return notShown(name, promise, (error as Error).message)
  }
}

/** Looks for a marker, in clear, in hex and in base64, in all files below some folders. */
export function searchFor(
  marker: string,
  folders: readonly string[],
): { readonly found: readonly string[]; readonly files: number } {
  const forms = formsOf(marker)
  const found: string[] = []
  let files = 0
  for (const folder of folders)
    for (const path of filesBelow(folder)) {
      if (++files > FILES_MAX) break
      const bytes = readFileSync(path)
      if (bytes.length <= FILE_BYTES_MAX && forms.some((form) => bytes.includes(form)))
        found.push(path)
    }
  return { found, files }
}

/** Whether a text holds a marker in any of its forms. */
export function holdsMarker(text: string, marker: string): boolean {
  return formsOf(marker).some((form) => text.includes(form))
}

/** Of base64 the middle, which is the same wherever the marker begins. */
function formsOf(marker: string): readonly string[] {
  const shifted = [0, 1, 2].map((by) =>
    Buffer.from(`${' '.repeat(by)}${marker}`)
      .toString('base64')
      .slice(4, -4),
  )
  return [marker, Buffer.from(marker).toString('hex'), ...shifted]
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function socketsOf(pid: number): ReadonlySet<string> {
  const folder = `/proc/${String(pid)}/fd`
  const links = readdirSync(folder).flatMap((fd) => {
    try {
      return [readlinkSync(join(folder, fd))]
    } catch {
      // It has been closed meanwhile.
      return []
    }
  })
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []))
}

function listeningPorts(pid: number, kind: string, inodes: ReadonlySet<string>): number[] {
  const lines = readFileSync(`/proc/${String(pid)}/net/${kind}`, 'utf8')
    .split('\n')
    .slice(1)
  return lines.flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
    const port = Number.parseInt(local.split(':')[1] ?? '', 16)
    return state === LISTENING && inodes.has(inode) ? [port] : []
  })
}

/** memory.swap.max of the process's group (cgroup v2). */
function swapMax(pid: number): string {
  try {
    const group =
      readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8')
        .trim()
        .split('::')[1] ?? ''
    return readFileSync(join('/sys/fs/cgroup', group, 'memory.swap.max'), 'utf8').trim()
  } catch {
    // There is no such group, or no limit in it.
    return 'any amount'
  }
}
