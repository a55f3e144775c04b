import { PosternError } from '../base/errors.ts'

/** Result codes of SQLite (sqlite.org/rescode.html) that say that the store, not the statement, is at fault. */
const CAUSES: Readonly<Record<number, string>> = {
  5: 'another process holds its lock for longer than we wait',
  6: 'another process holds its lock for longer than we wait',
  8: 'it may only be read',
  10: 'the disk could not be read or written',
  11: 'the file is damaged: restore it from a backup',
  13: 'the disk is full',
  14: 'it cannot be opened',
  26: 'it is no SQLite database: restore it from a backup',
}

/** What SQLite said: RECORDS_UNUSABLE with the cause, or the error of a statement as it came. */
export function storeError(path: string, message: string, code: number): Error {
  const cause = CAUSES[code & 0xff]
  if (cause === undefined && code !== 0) return new Error(`${path}: ${message}`)
  return new PosternError('RECORDS_UNUSABLE', `${path}: ${cause ?? message}`, { path })
}
