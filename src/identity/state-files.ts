import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { PosternError } from '../base/errors.ts'

/** The mode of files that hold secrets. */
export const FOR_OWNER = 0o600
/** The mode of files that anybody may read. */
export const FOR_ALL = 0o644
const FOLDER_FOR_OWNER = 0o700

/** Makes a folder that only its owner may enter. @throws STATE_UNWRITABLE */
export function makeFolder(path: string): void {
  attempt(path, () => {
    mkdirSync(path, { recursive: true, mode: FOLDER_FOR_OWNER })
    chmodSync(path, FOLDER_FOR_OWNER)
  })
}

/**
 * Writes a file so that a reader, or a crash, finds the old content or the new and nothing between:
 * a new file beside it, flushed, takes its name. A link of that name is replaced, never followed.
 * @throws STATE_UNWRITABLE
 */
export function writeState(path: string, content: string | Uint8Array, mode: number): void {
  const temporary = join(dirname(path), `.${basename(path)}.new`)
  attempt(path, () => {
    rmSync(temporary, { force: true })
    // Exclusive: whatever somebody put there meanwhile is not written through.
    const file = openSync(temporary, 'wx', mode)
    try {
      chmodSync(temporary, mode)
      writeFileSync(file, content)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
  })
  syncFolder(dirname(path))
}

/** Makes renames and new files in a folder last. @throws STATE_UNWRITABLE */
export function syncFolder(path: string): void {
  attempt(path, () => {
    const folder = openSync(path, 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  })
}

/** Runs a step that writes state, and names the path where it fails. @throws STATE_UNWRITABLE */
export function attempt<T>(path: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    if (error instanceof PosternError) throw error
    const { code = '', message } = error as NodeJS.ErrnoException
    const text = `${path}: ${code === 'ENOSPC' ? 'the disk is full' : message}`
    throw new PosternError('STATE_UNWRITABLE', text, { path }, { cause: error })
  }
}
