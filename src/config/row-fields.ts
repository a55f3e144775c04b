import { isAbsolute } from 'node:path'
import type { BackendFiles } from '../dataplane/backend-files.ts'

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

/** Reads a list of texts of a form; empty where it is left out. */
export function listField(row: Row, name: string, form: RegExp): readonly string[] {
  const value = row[name] ?? []
  const isGood =
    Array.isArray(value) && value.every((one) => typeof one === 'string' && form.test(one))
  if (isGood) return value as string[]
  throw new Error(`${name} must be a list of texts, each of the form that the settings describe`)
}

/** Reads the files by which the agent and what lies behind it know each other. */
export function trustFields(row: Row): BackendFiles {
  const certificateFile = pathField(row, 'certificateFile')
  const keyFile = pathField(row, 'keyFile')
  if ((certificateFile === undefined) !== (keyFile === undefined))
    throw new Error('certificateFile and keyFile go together')
  const [caFile, tokenFile] = [pathField(row, 'caFile'), pathField(row, 'tokenFile')]
  return { caFile, certificateFile, keyFile, tokenFile }
}

/** Returns a number that lies between two others. `form`: how a person would write them. */
export function within(
  value: number,
  min: number,
  max: number,
  name: string,
  form: string,
): number {
  if (Number.isFinite(value) && value >= min && value <= max) return value
  throw new Error(`${name} must be from ${form}`)
}

/** The names of services, stores and the like. */
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Reads the name of a row. */
export function nameField(row: Row, name = 'name'): string {
  const value = row[name]
  if (typeof value === 'string' && NAME.test(value)) return value
  throw new Error(`${name} must be 1 to 63 of a-z, 0-9 and hyphens`)
}
