import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, readdir, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { OpenLog } from './open-log.ts'
import { PackedLog } from './packed-log.ts'

/** So many bytes at its beginning tell a file from others with the same number. */
const MARK_BYTES = 256
const FILES_MAX = 1000

/** One file of a log: the one that is written, or one that was rotated away. */
export interface LogFile {
  readonly path: string
  readonly isPacked: boolean
  readonly mtimeMs: number
}

/** A place in a log: in the file that began so, behind so many bytes. */
export interface LogPlace {
  readonly inode: string
  /** SHA-256 of the first bytes, and how many they were. */
  readonly mark: string
  readonly markBytes: number
  readonly offset: number
}

/** Lists the files of a log: those that rotation has put aside, by age, and the present one last. Links are left out. */
export async function listLog(path: string): Promise<LogFile[]> {
  const [folder, name] = [dirname(path), basename(path)]
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const aside = entries.filter(
    (entry) =>
      entry.isFile() &&
      entry.name !== name &&
      entry.name.startsWith(name) &&
      /^[.-]/.test(entry.name.slice(name.length)),
  )
  const files: LogFile[] = []
  for (const entry of aside.slice(0, FILES_MAX)) {
    const file = join(folder, entry.name)
    const mtimeMs = await mtimeOf(file)
    if (mtimeMs !== undefined) files.push({ path: file, isPacked: file.endsWith('.gz'), mtimeMs })
  }
  files.sort((a, b) => a.mtimeMs - b.mtimeMs || (a.path < b.path ? 1 : -1))
  return [...files, { path, isPacked: false, mtimeMs: Infinity }]
}

/** Opens a file, and no link; undefined: it is not there. */
export async function openLog({ path, isPacked }: LogFile): Promise<OpenLog | undefined> {
  const handle = await openFile(path)
  if (handle === undefined) return undefined
  if (isPacked) return await PackedLog.open(handle)
  const { ino } = await handle.stat()
  return {
    inode: String(ino),
    read: async (into, at) => (await handle.read(into, 0, into.length, at)).bytesRead,
    size: async () => (await handle.stat()).size,
    close: () => handle.close(),
  }
}

/** What tells the beginning of a file from others. */
export async function markOf(
  file: OpenLog,
  bytes = MARK_BYTES,
): Promise<Pick<LogPlace, 'mark' | 'markBytes'>> {
  const start = Buffer.alloc(bytes)
  const markBytes = await file.read(start, 0)
  const mark = createHash('sha256').update(start.subarray(0, markBytes)).digest('base64url')
  return { mark, markBytes }
}

/** Whether a file is the one that a place is in: by its beginning, as a copy or a compressed one has another number. */
export async function isOf(file: OpenLog, place: LogPlace): Promise<boolean> {
  if (place.markBytes === 0) return file.inode === place.inode
  if ((await file.size()) < place.offset) return false
  const { mark, markBytes } = await markOf(file, place.markBytes)
  return markBytes === place.markBytes && mark === place.mark
}

async function openFile(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    // It has been rotated away meanwhile, or is a link.
    return undefined
  }
}

async function mtimeOf(path: string): Promise<number | undefined> {
  const handle = await openFile(path)
  if (handle === undefined) return undefined
  const { mtimeMs } = await handle.stat()
  await handle.close()
  return mtimeMs
}
