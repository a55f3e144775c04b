import { closeSync, fstatSync, openSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { isOursToWrite, isReadOnlyMount, isSafeFolder } from '../base/who-may-write.ts'
import { parseFile, type ParsedFile } from './file-lines.ts'
import type { SettingsOf, SettingsTable } from './setting.ts'
import { suggestion } from './suggestion.ts'

/** The place that a setting's value came from. */
export type Origin = 'flag' | 'environment' | 'file' | 'default'

/** The flags, environment and file that settings are read from. */
export interface Sources {
  /** By key, as text. */
  readonly flags: Readonly<Record<string, string | undefined>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Path of the YAML file, if there is one. */
  readonly file: string | undefined
  /** The table is a part of the file's: other keys of it are nobody's business. */
  readonly isPart?: boolean
}

/** Settings, each with its origin. */
export interface Loaded<T extends SettingsTable> {
  readonly values: SettingsOf<T>
  readonly origins: Readonly<Record<keyof T & string, Origin>>
}

const FILE_BYTES_MAX = 1024 * 1024

/** Returns the flag of a setting, without the dashes. */
export function flagName(key: string): string {
  return key.replaceAll('.', '-').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** Returns the environment variable of a setting. */
export function variableName(key: string): string {
  return `POSTERN_${flagName(key).replaceAll('-', '_').toUpperCase()}`
}

/**
 * Reads all settings once, at the edge: flag before environment before file before default. What it
 * returns needs no second look. @throws CONFIG_INVALID with every fault, CONFIG_UNREADABLE, CONFIG_EXPOSED
 */
export function loadSettings<T extends SettingsTable>(table: T, sources: Sources): Loaded<T> {
  const faults: string[] = []
  const {
    found: fromFile,
    isExposed,
    placeOf,
  } = sources.file === undefined
    ? NO_FILE
    : readFile(sources.file, table, sources.isPart === true ? [] : faults)
  const values: Record<string, unknown> = {}
  const origins: Record<string, Origin> = {}
  for (const [key, setting] of Object.entries(table)) {
    const variable = variableName(key)
    const candidates: readonly (readonly [Origin, unknown, string])[] = [
      ['flag', sources.flags[key], `--${flagName(key)}`],
      ['environment', sources.environment[variable], variable],
      ['file', fromFile[key], key],
    ]
    const [origin, raw, name] = candidates.find(([, value]) => value !== undefined) ?? [
      'default',
      undefined,
      key,
    ]
    origins[key] = origin
    if (raw === undefined) {
      values[key] = setting.defaultValue
      if (setting.defaultValue === undefined && setting.isOptional !== true)
        faults.push(missing(key))
      continue
    }
    try {
      const value: unknown = setting.parse(raw)
      if (origin === 'file' && isExposed && setting.runsProgram?.(value) === true)
        throw exposed(sources.file ?? '', key)
      const isBeside =
        origin === 'file' && setting.kind === 'path' && /^\.\.?\//.test(String(value))
      values[key] = isBeside ? resolve(dirname(sources.file ?? ''), String(value)) : value
    } catch (error) {
      if (error instanceof PosternError && error.code === 'CONFIG_EXPOSED') throw error
      const text = error instanceof PosternError ? error.rawMessage : (error as Error).message
      const place = origin === 'file' ? placeOf(key, entryOf(text)) : ''
      faults.push(`${place}${name} ${text}`)
    }
  }
  if (faults.length > 0) throw new PosternError('CONFIG_INVALID', faults.join('; '))
  return {
    values: Object.freeze(values) as SettingsOf<T>,
    origins: origins as Loaded<T>['origins'],
  }
}

/** The entry of a list that a fault is about; undefined: it is about the whole. */
function entryOf(text: string): number | undefined {
  const entry = /^entry (\d+): /.exec(text)?.[1]
  return entry === undefined ? undefined : Number(entry)
}

function missing(key: string): string {
  return `${key} is missing: give --${flagName(key)}, ${variableName(key)} or ${key} in the file`
}

interface FileSettings {
  readonly found: Readonly<Record<string, unknown>>
  /** Others may write the file, or put another in its place. */
  readonly isExposed: boolean
  /** "agent.yaml:12: ", where a key or an entry of its list stands. */
  readonly placeOf: (key: string, entry?: number) => string
}

const NO_FILE: FileSettings = { found: {}, isExposed: false, placeOf: () => '' }

function exposed(path: string, key: string): PosternError {
  const text = `${path} names a program to run (${key}), and others than root and this user may write it or its folder; run: chmod go-w, and own both`
  return new PosternError('CONFIG_EXPOSED', text, { path })
}

/** Opened once, so that what is judged is what is read. */
function readJudged(path: string): { bytes: Buffer; isExposed: boolean } {
  const file = openSync(path, 'r')
  try {
    const stat = fstatSync(file)
    const folders = [dirname(path), dirname(realpathSync(path))]
    const isSafe = folders.every((folder) => isSafeFolder(folder) || isReadOnlyMount(folder))
    const isExposed = stat.isFile() && !(isOursToWrite(stat) && isSafe)
    return { bytes: readFileSync(file), isExposed }
  } finally {
    closeSync(file)
  }
}

function readFile(path: string, table: SettingsTable, faults: string[]): FileSettings {
  let parsed: ParsedFile
  let isExposed: boolean
  try {
    const file = readJudged(path)
    const { bytes } = file
    isExposed = file.isExposed
    if (bytes.length > FILE_BYTES_MAX) throw new Error('it is larger than 1 MiB')
    parsed = parseFile(textOf(bytes))
  } catch (error) {
    throw new PosternError(
      'CONFIG_UNREADABLE',
      `${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    )
  }
  const content: unknown = parsed.content ?? {}
  const placeOf = (key: string, entry?: number): string => {
    const line = parsed.lineOf(key, entry)
    return line === undefined ? '' : `${basename(path)}:${String(line)}: `
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new PosternError('CONFIG_UNREADABLE', `${path}: the top level must be a mapping`, {
      path,
    })
  }
  const found: Record<string, unknown> = {}
  flatten(content as Record<string, unknown>, '', table, found, (key, text) => {
    faults.push(`${placeOf(key)}${text}`)
  })
  return { found, isExposed, placeOf }
}

/** UTF-8, with or without a mark; other encodings are told by their name. */
function textOf(bytes: Buffer): string {
  const isUtf16 =
    (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
  if (isUtf16 || bytes.subarray(0, 64).includes(0))
    throw new Error('it is in UTF-16, as some editors save it; save it as UTF-8')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    // The decoder says only that it failed.
    throw new Error('it is not UTF-8; save it as UTF-8')
  }
}

/** Nested mappings become dotted keys; a key that no table row has is a fault. */
function flatten(
  content: Readonly<Record<string, unknown>>,
  prefix: string,
  table: SettingsTable,
  found: Record<string, unknown>,
  onFault: (key: string, text: string) => void,
): void {
  const keys = Object.keys(table)
  for (const [name, value] of Object.entries(content)) {
    const key = `${prefix}${name}`
    if (Object.hasOwn(table, key)) {
      if (value !== null) found[key] = value
    } else if (isMapping(value) && keys.some((known) => known.startsWith(`${key}.`))) {
      flatten(value, `${key}.`, table, found, onFault)
    } else onFault(key, `unknown key ${key}${suggestion(key, keys)}`)
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
