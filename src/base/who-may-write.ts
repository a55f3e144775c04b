import { accessSync, constants, statSync, type Stats } from 'node:fs'

/** The user id of root. */
export const ROOT = 0
const OTHERS_MAY_WRITE = 0o022
const STICKY = 0o1000

/** Whether a file is root's or ours, and nobody else may write it. */
export function isOursToWrite({ mode, uid }: Stats): boolean {
  return isOwn(uid) && (mode & OTHERS_MAY_WRITE) === 0
}

/**
 * Whether nobody else can put another file in the place of one in this folder: it is root's or ours, and
 * others may not write it, or not take what is not theirs. A folder that is not there is safe.
 */
export function isSafeFolder(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return true
  const isOpen = (stat.mode & OTHERS_MAY_WRITE) !== 0 && (stat.mode & STICKY) === 0
  return isOwn(stat.uid) && !isOpen
}

/** Whether a folder lies in a file system that is mounted read-only, as Kubernetes mounts a ConfigMap. */
export function isReadOnlyMount(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS'
  }
}

function isOwn(uid: number): boolean {
  return uid === ROOT || uid === process.getuid?.()
}
