import { statSync } from 'node:fs'

/** Returns what tells one state of some files from another, without reading them. Undefined ones are left out. */
export function fileMarks(...paths: readonly (string | undefined)[]): string {
  return paths.map(markOf).join()
}

function markOf(path: string | undefined): string {
  if (path === undefined) return ''
  try {
    const { ino, size, mtimeMs, ctimeMs } = statSync(path)
    return [ino, size, mtimeMs, ctimeMs].join(' ')
  } catch {
    // It is gone for the moment: reading it says so.
    return 'gone'
  }
}
