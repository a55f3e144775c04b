import type { LogsRow, PathPiece, Redaction } from '../dataplane/logs-row.ts'
import { nameField, pathField, textField, type Row } from './row-fields.ts'
import { parseBytes, rowFields } from './setting.ts'

const FIELDS = ['name', 'type', 'directory', 'path', 'lineMax', 'redact']
const PIECE = /\{([a-z][a-z0-9_]{0,62})\}|([^{}/]+)/g
const KIB = 1024

/** Reads one row of `logs`. Throws a plain Error for the loader to place. */
export function readLogs(row: Row): LogsRow {
  rowFields(row, FIELDS)
  const name = nameField(row)
  try {
    if (row.type !== 'files') throw new Error('type must be files')
    const directory = pathField(row, 'directory')
    if (directory === undefined) throw new Error('directory is missing')
    const lineBytesMax = parseBytes(row.lineMax ?? '16KiB')
    if (lineBytesMax < 64 || lineBytesMax > 64 * KIB)
      throw new Error('lineMax must be from 64B to 64KiB')
    return {
      name,
      type: 'files',
      directory,
      path: readPath(row),
      lineBytesMax,
      redact: readRedact(row.redact),
    }
  } catch (error) {
    throw new Error(`logs ${name}: ${(error as Error).message}`, { cause: error })
  }
}

function readPath(row: Row): LogsRow['path'] {
  const form =
    'path must be that of a file below directory, with labels in it, such as {run}/{task}.log'
  const segments = (textField(row, 'path') ?? '').split('/')
  return segments.map((segment) => {
    const pieces = [...segment.matchAll(PIECE)].map(([, label, text]): PathPiece =>
      label === undefined ? { text: text ?? '' } : { label },
    )
    const isWhole = segment.replaceAll(PIECE, '') === '' && segment !== '.' && segment !== '..'
    if (pieces.length === 0 || !isWhole) throw new Error(form)
    return pieces
  })
}

function readRedact(value: unknown): readonly Redaction[] {
  const form = 'redact must be a list of { pattern, replacement }'
  if (value === undefined) return []
  if (!Array.isArray(value)) throw new Error(form)
  return value.map((one: unknown) => readRedaction((one ?? {}) as Row))
}

/** Reads one rule on what no line may say. Throws a plain Error for the loader to place. */
export function readRedaction({ pattern, replacement = '[redacted]' }: Row): Redaction {
  if (typeof pattern !== 'string' || pattern === '' || typeof replacement !== 'string')
    throw new Error('redact must be a list of { pattern, replacement }')
  if (!isRe2(pattern))
    throw new Error(`redact: ${JSON.stringify(pattern)} is no regular expression of RE2`)
  return { pattern, replacement }
}

/**
 * Whether an expression is one that RE2 takes, as far as can be told without RE2 itself, which is read when the first log is: one
 * of our own syntax without what takes longer than its text. What RE2 does not take all the same has no log told.
 */
function isRe2(pattern: string): boolean {
  if (/\(\?(?:[=!]|<[=!])|\\[1-9]|\\k</.test(pattern)) return false
  try {
    new RegExp(pattern.replace(/^\(\?[imsU]+\)/, ''))
    return true
  } catch {
    // As JavaScript reads it, which is near enough.
    return false
  }
}
