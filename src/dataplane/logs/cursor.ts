import { createHash } from 'node:crypto'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import type { LogPlace } from './log-files.ts'

const CURSOR_MAX = 512
const VERSION = 1
const MARK = /^[\w-]{43}$/
const INODE = /^\d{0,20}$/

/** Writes a place in a log as a text that means nothing to others. */
export function writeCursor({ inode, mark, markBytes, offset }: LogPlace, path: string): string {
  const fields = [VERSION, inode, mark, markBytes, offset, nameOf(path)]
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

/** Reads a cursor; undefined: it is empty. @throws RpcError CURSOR_INVALID */
export function readCursor(cursor: string, path: string): LogPlace | undefined {
  if (cursor === '') return undefined
  const [version, inode, mark, markBytes, offset, name] = fieldsOf(cursor)
  const isPlace =
    typeof inode === 'string' && typeof mark === 'string' && INODE.test(inode) && MARK.test(mark)
  if (version !== VERSION || !isPlace || !isCount(markBytes, 256) || !isCount(offset))
    throw invalid('it is none that Tail has told')
  if (name !== nameOf(path)) throw invalid('it is of another log')
  return { inode, mark, markBytes, offset }
}

function fieldsOf(cursor: string): readonly unknown[] {
  try {
    const value: unknown =
      cursor.length > CURSOR_MAX ? [] : JSON.parse(Buffer.from(cursor, 'base64url').toString())
    return Array.isArray(value) ? value : []
  } catch {
    // As any other that is none.
    return []
  }
}

function isCount(value: unknown, most = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most
}

/** A log's own name, that its path cannot be read from. */
function nameOf(path: string): string {
  return createHash('sha256').update(path).digest('base64url').slice(0, 16)
}

function invalid(why: string): Error {
  return rpcErrorOfCode('CURSOR_INVALID', `the cursor: ${why}`)
}
