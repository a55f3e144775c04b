import { cursorInvalid, isCount, packCursor, unpackCursor } from '../log-cursor.ts'
import type { LogPlace } from './list-log.ts'

const VERSION = 1
const MARK = /^[\w-]{43}$/
const INODE = /^\d{0,20}$/
const MARK_BYTES_MAX = 256

/** Writes a place in a log. */
export function writeCursor({ inode, mark, markBytes, offset }: LogPlace, path: string): string {
  return packCursor(path, [VERSION, inode, mark, markBytes, offset])
}

/** Reads a cursor; undefined: it is empty. @throws RpcError CURSOR_INVALID */
export function readCursor(cursor: string, path: string): LogPlace | undefined {
  const fields = unpackCursor(cursor, path, VERSION)
  if (fields === undefined) return undefined
  const [, inode, mark, markBytes, offset] = fields
  const isPlace =
    typeof inode === 'string' && typeof mark === 'string' && INODE.test(inode) && MARK.test(mark)
  if (!isPlace || !isCount(markBytes, MARK_BYTES_MAX) || !isCount(offset)) throw cursorInvalid()
  return { inode, mark, markBytes, offset }
}
