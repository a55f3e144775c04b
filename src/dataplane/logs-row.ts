/** One piece of the path of a log: as it stands, or the name of the label that it is. */
export type PathPiece = { readonly text: string } | { readonly label: string }

/** What is put in the place of what matches. */
export interface Redaction {
  /** RE2 syntax. */
  readonly pattern: string
  readonly replacement: string
}

/** One row of `logs:`. */
export interface LogsRow {
  readonly name: string
  readonly type: 'files'
  /** Nothing outside of it is read, whatever links say. */
  readonly directory: string
  /** Below it, segment by segment. */
  readonly path: readonly (readonly PathPiece[])[]
  readonly lineBytesMax: number
  readonly redact: readonly Redaction[]
}
