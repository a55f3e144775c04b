import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from 'node:fs'
import { join } from 'node:path'
import { notShown, shown, type Experiment } from './experiment.ts'

const LISTENING = '0A'
const PIECE_BYTES = 4 * 1024 * 1024
const SEARCH_BYTES_MAX = 16 * 1024 ** 3
const FILES_MAX = 100_000

/** Whether the daemon listens on anything but what its settings name. `allowed`: ports that they name. */
export function listenerExperiment(pid: number, allowed: readonly number[]): Experiment {
  const [name, promise] = ['listeners', 'nobody can reach in, as the agent only dials out']
  try {
    const inodes = socketsOf(pid)
    const ports = ['tcp', 'tcp6'].flatMap((kind) => listeningPorts(pid, kind, inodes))
    const others = ports.filter((port) => !allowed.includes(port))
    if (others.length > 0)
      return shown(name, promise, false, `it listens on TCP port ${others.join(', ')}`)
    const own = ports.length === 0 ? '' : `, and on ${ports.join(', ')} as its settings say`
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
    // A program that takes cores is given them whatever the limit (core(5)).
    const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim()
    if (pattern.startsWith('|')) {
      const [handler = ''] = pattern.slice(1).split(' ')
      return notShown(
        name,
        promise,
        `${evidence}; the machine gives core dumps to ${handler}, whatever that limit: it must be told to keep none`,
      )
    }
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

/** What a search for a marker has come to. */
export interface Search {
  readonly found: readonly string[]
  /** Files that were looked at from beginning to end. */
  readonly files: number
  /** What was not looked at, so that nothing is shown; undefined: all was. */
  readonly unread: string | undefined
}

/** Looks for a marker, in clear, in hex and in base64, in all files below some folders. */
export function searchFor(marker: string, folders: readonly string[]): Search {
  const forms = formsOf(marker).map((form) => Buffer.from(form))
  const found: string[] = []
  let [files, left] = [0, SEARCH_BYTES_MAX]
  for (const path of folders.flatMap(filesBelow)) {
    if (files === FILES_MAX || left <= 0)
      return { found, files, unread: `there is more than could be searched: ${path} and on` }
    try {
      const { bytes, isThere } = searchFile(path, forms)
      left -= bytes
      if (isThere) found.push(path)
      files++
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // It was there for a moment, as files are that are replaced.
      if (code === 'ENOENT') continue
      return { found, files, unread: `${path} cannot be read: ${String(code)}` }
    }
  }
  return { found, files, unread: undefined }
}

/** A file of any size, in pieces that overlap by more than the marker has. */
function searchFile(path: string, forms: readonly Buffer[]): { bytes: number; isThere: boolean } {
  const overlap = Math.max(...forms.map((form) => form.length))
  const piece = Buffer.alloc(PIECE_BYTES + overlap)
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    let [bytes, kept] = [0, 0]
    for (;;) {
      const read = readSync(file, piece, kept, PIECE_BYTES, bytes)
      if (read === 0) return { bytes, isThere: false }
      bytes += read
      const filled = piece.subarray(0, kept + read)
      if (forms.some((form) => filled.includes(form))) return { bytes, isThere: true }
      kept = Math.min(overlap, filled.length)
      filled.copyWithin(0, filled.length - kept)
    }
  } finally {
    closeSync(file)
  }
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
