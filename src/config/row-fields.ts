import { isAbsolute } from 'node:path'

/** A row of a list in the settings, as YAML gave it. */
export type Row = Readonly<Record<string, unknown>>

/** Reads a text that may be left out. Throws a plain Error that says what is allowed, as all of these do. */
export function textField(row: Row, name: string): string | undefined {
  const value = row[name]
  if (value === undefined) return undefined
  if (typeof value === 'string' && value !== '') return value
  throw new Error(`${name} must be a text that is not empty`)
}

/** Reads a path that may be left out: an absolute one, as rows do not know where their file lies. */
export function pathField(row: Row, name: string): string | undefined {
  const value = textField(row, name)
  if (value === undefined || isAbsolute(value)) return value
  throw new Error(`${name} must be an absolute path`)
}

/** Reads one of a few words. */
export function choiceField<const C extends string>(
  row: Row,
  name: string,
  choices: readonly C[],
  usual: C,
): C {
  const value = row[name] ?? usual
  const found = choices.find((one) => one === value)
  if (found !== undefined) return found
  throw new Error(`${name} must be one of ${choices.join(', ')}`)
}

/** The names of services, stores and the like. */
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Reads the name of a row. */
export function nameField(row: Row, name = 'name'): string {
  const value = row[name]
  if (typeof value === 'string' && NAME.test(value)) return value
  throw new Error(`${name} must be 1 to 63 of a-z, 0-9 and hyphens`)
}
