import type { TextPiece } from '../dataplane/log-labels.ts'
import { textField, type Row } from './row-fields.ts'

const PIECE = /\{([a-z][a-z0-9_]{0,62})\}|([^{}]+)/g

/** Reads a text with labels in it, such as team-{project}. Throws a plain Error, as all of these do. */
export function labelledText(row: Row, name: string): readonly TextPiece[] | undefined {
  const text = textField(row, name)
  return text === undefined ? undefined : piecesOf(text, name)
}

/** The same for one that must be there. */
export function neededText(row: Row, name: string): readonly TextPiece[] {
  const pieces = labelledText(row, name)
  if (pieces === undefined) throw new Error(`${name} is missing`)
  return pieces
}

/** Reads which fields of entries must be what: at least one, as otherwise everything of everybody would be told. */
export function matchField(
  row: Row,
  form: RegExp,
  example: string,
): ReadonlyMap<string, readonly TextPiece[]> {
  const { match } = row
  const words = `match must say which fields must be what, such as ${example}`
  if (typeof match !== 'object' || match === null || Array.isArray(match)) throw new Error(words)
  const entries = Object.entries(match as Row)
  if (entries.length === 0) throw new Error(words)
  return new Map(
    entries.map(([name, value]) => {
      if (!form.test(name) || typeof value !== 'string' || value === '') throw new Error(words)
      return [name, piecesOf(value, `match.${name}`)]
    }),
  )
}

/** Splits a text into what stands and what labels stand for. */
export function piecesOf(text: string, name: string): readonly TextPiece[] {
  const pieces = [...text.matchAll(PIECE)].map(([, label, said]): TextPiece =>
    label === undefined ? { text: said ?? '' } : { label },
  )
  const isWhole = text !== '' && text.replaceAll(PIECE, '') === ''
  // What is no character of a text would mean something to whom it is handed.
  if (!isWhole || /\p{Cc}/u.test(text))
    throw new Error(`${name} must be a text with labels in it, such as team-{project}`)
  return pieces
}
