import { createHash } from 'node:crypto'
import { rpcErrorOfCode, type RpcError } from '../rpc/status.ts'

const CURSOR_MAX = 2048
const NAME_CHARS = 16

/** Writes fields, the first of them the version of their form, as a text that means nothing to others. `log`: which it is a place in. */
export function packCursor(log: string, fields: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify([...fields, nameOf(log)])).toString('base64url')
}

/** Reads the fields of a cursor; undefined: it is empty. @throws RpcError CURSOR_INVALID */
export function unpackCursor(
  cursor: string,
  log: string,
  version: number,
): readonly unknown[] | undefined {
  if (cursor === '') return undefined
  const fields = fieldsOf(cursor)
  if (fields[0] !== version) throw cursorInvalid('it is none that Tail has told')
  if (fields.at(-1) !== nameOf(log)) throw cursorInvalid('it is of another log')
  return fields.slice(0, -1)
}

/** Makes the error for a cursor that is none. */
export function cursorInvalid(why = 'it is none that Tail has told'): RpcError {
  return rpcErrorOfCode('CURSOR_INVALID', `the cursor: ${why}`)
}

/** Whether a field is a count. */
export function isCount(value: unknown, most = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most
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

/** A log's own name, that nothing can be read from. */
function nameOf(log: string): string {
  return createHash('sha256').update(log).digest('base64url').slice(0, NAME_CHARS)
}
