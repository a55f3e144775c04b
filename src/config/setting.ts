import { addressText, parseAddress, type Address } from '../base/address.ts'

/** One row of a table of settings: from it come flag, variable, file key, help and documentation. */
export interface Setting<T> {
  /** Word for the kind of value, as help and documentation show it. */
  readonly kind: string
  /** Undefined: the setting must be given. */
  readonly defaultValue: T | undefined
  /** One sentence, then why this default. */
  readonly describe: string
  /** The default as a person would write it. */
  readonly defaultText: string
  /** Reads a value from YAML, or text from a flag or variable. Throws an Error that says what is allowed. */
  parse(raw: unknown): T
  /** The value as a person would write it. */
  format(value: T): string
  /** May be left out even though it has no default; the value is then undefined. */
  readonly isOptional?: boolean
  /** Whether a value names a program to run: a file that says so must be ours alone to write. */
  readonly runsProgram?: (value: T) => boolean
}

// A table holds settings of many value types; each row checks its own.
/** A table of settings, by name. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- see above
export type SettingsTable = Readonly<Record<string, Setting<any>>>

/** The parsed values of a table. */
export type SettingsOf<T extends SettingsTable> = {
  readonly [K in keyof T]: T[K] extends Setting<infer V> ? V : never
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const UNITS_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
}

const DURATION_FORM = 'a time such as 500ms, 10s, 5m or 2d'

function make<T>(
  kind: string,
  describe: string,
  defaultValue: T | undefined,
  parse: (raw: unknown) => T,
  format: (value: T) => string = String,
): Setting<T> {
  const defaultText = defaultValue === undefined ? '' : format(defaultValue)
  return { kind, describe, defaultValue, defaultText, parse, format }
}

/** Makes a setting that may be absent. */
export function optional<T>(setting: Setting<T>): Setting<T | undefined> {
  const format = (value: T | undefined): string =>
    value === undefined ? '' : setting.format(value)
  return { ...setting, format, isOptional: true } as Setting<T | undefined>
}

/** Makes a setting that is a text. */
export function text(
  describe: string,
  defaultValue?: string,
  pattern?: RegExp,
  form = 'text',
): Setting<string> {
  return make(form, describe, defaultValue, (raw) => {
    if (typeof raw === 'string' && raw !== '' && (pattern?.test(raw) ?? true)) return raw
    throw new Error(`must be ${form === 'text' ? 'a text that is not empty' : form}`)
  })
}

/** A URL that may hold a password, which is never shown. */
export function masked(describe: string): Setting<string> {
  const hide = (value: string): string =>
    value.replace(/(:\/\/[^:/@]*:|^[^:/@]*:(?!\/\/)).*@/, '$1…@')
  return { ...text(describe), format: hide }
}

/** Makes a setting that is the path of a file, relative to the settings file. */
export function path(describe: string, defaultValue?: string): Setting<string> {
  return text(describe, defaultValue, /^[^\0]+$/, 'path')
}

/** Makes a setting that is one of a few words. */
export function choice<const C extends string>(
  describe: string,
  defaultValue: C | undefined,
  choices: readonly C[],
): Setting<C> {
  return make(choices.join(' | '), describe, defaultValue, (raw) => {
    const found = choices.find((one) => one === raw)
    if (found !== undefined) return found
    throw new Error(`must be one of ${choices.join(', ')}`)
  })
}

/** Makes a setting that is a list of a few words, each once and one at least: YAML in the file, JSON or the words with commas in a flag or variable. */
export function choices<const C extends string>(
  describe: string,
  defaultValue: readonly C[],
  all: readonly C[],
): Setting<readonly C[]> {
  const parse = (raw: unknown): readonly C[] => {
    const isJson = typeof raw === 'string' && raw.startsWith('[')
    const list: unknown = isJson ? JSON.parse(raw) : typeof raw === 'string' ? raw.split(',') : raw
    const found = Array.isArray(list) ? list.map((word) => all.find((one) => one === word)) : []
    const known = found.filter((one) => one !== undefined)
    if (known.length === 0 || known.length < found.length || new Set(known).size < known.length)
      throw new Error(`must be a list of ${all.join(', ')}, each once`)
    return known
  }
  return make(`list of ${all.join(' | ')}`, describe, defaultValue, parse, (value) =>
    JSON.stringify(value),
  )
}

/** An address to dial. */
export function address(describe: string, defaultValue?: string): Setting<Address> {
  return anyAddress(describe, defaultValue, 1)
}

/** An address to listen on; port 0 takes any free port. */
export function listenAddress(describe: string, defaultValue?: string): Setting<Address> {
  return anyAddress(describe, defaultValue, 0)
}

/** Addresses to dial: YAML in the file, JSON in a flag or variable. */
export function addresses(describe: string): Setting<readonly Address[]> {
  const list = words(describe)
  const parse = (raw: unknown): readonly Address[] =>
    list.parse(raw).map((one) => parseAddress(one))
  return make('list of host:port', describe, [], parse, (value) =>
    JSON.stringify(value.map(addressText)),
  )
}

function anyAddress(
  describe: string,
  defaultValue: string | undefined,
  portMin: number,
): Setting<Address> {
  const parse = (raw: unknown): Address => {
    if (typeof raw !== 'string') throw new Error('must be host:port')
    return parseAddress(raw, portMin)
  }
  const initial = defaultValue === undefined ? undefined : parse(defaultValue)
  return make('host:port', describe, initial, parse, addressText)
}

/** The least and the greatest value of a number. */
export interface Bounds {
  readonly min: number
  readonly max: number
}

/** Makes a setting that is a whole number. */
export function integer(describe: string, defaultValue: number, bounds: Bounds): Setting<number> {
  const kind = `${String(bounds.min)} to ${String(bounds.max)}`
  return make(kind, describe, defaultValue, (raw) => {
    const value = typeof raw === 'string' && /^\d+$/.test(raw) ? Number(raw) : raw
    if (typeof value === 'number' && Number.isInteger(value)) return within(value, bounds, String)
    throw new Error(`must be a whole number, ${kind}`)
  })
}

/** A time span: "500ms", "10s", "5m", "2h". The value is in milliseconds. */
export function duration(
  describe: string,
  defaultValue: string,
  bounds: readonly [string, string],
): Setting<number> {
  return scaled(describe, defaultValue, bounds, UNITS_MS, DURATION_FORM)
}

/** A size: "512B", "64KiB", "4MiB", "1GiB". The value is in bytes. */
export function bytes(
  describe: string,
  defaultValue: string,
  bounds: readonly [string, string],
): Setting<number> {
  return scaled(describe, defaultValue, bounds, UNITS_BYTES, 'a size such as 64KiB or 4MiB')
}

/** Reads a size, as `bytes` does. @throws Error */
export function parseBytes(raw: unknown): number {
  return readScaled(raw, UNITS_BYTES, 'a size such as 64KiB or 4MiB')
}

/** Reads a time span. @throws Error */
export function parseDuration(raw: unknown): number {
  return readScaled(raw, UNITS_MS, DURATION_FORM)
}

function readScaled(raw: unknown, units: Readonly<Record<string, number>>, form: string): number {
  const [, count = '', unit = ''] = /^(\d+)([A-Za-z]+)$/.exec(String(raw)) ?? []
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined
  if (factor === undefined) throw new Error(`must be ${form}`)
  return Number(count) * factor
}

function scaled(
  describe: string,
  defaultValue: string,
  [min, max]: readonly [string, string],
  units: Readonly<Record<string, number>>,
  form: string,
): Setting<number> {
  const read = (raw: unknown): number => readScaled(raw, units, form)
  const format = (value: number): string => {
    const fitting = Object.entries(units).filter(([, factor]) => value % factor === 0)
    const [unit = '', factor = 1] = fitting.at(-1) ?? []
    return `${String(value / factor)}${unit}`
  }
  const bounded = { min: read(min), max: read(max) }
  const parse = (raw: unknown): number => within(read(raw), bounded, format)
  return make(`${min} to ${max}`, describe, read(defaultValue), parse, format)
}

function within(value: number, { min, max }: Bounds, format: (value: number) => string): number {
  if (value >= min && value <= max) return value
  throw new Error(`must be from ${format(min)} to ${format(max)}, not ${format(value)}`)
}

/**
 * A list of rows: YAML in the file, JSON in a flag or variable. `readRow` throws for a bad row; `showRow`
 * leaves out what nobody should read.
 */
export function rows<T>(
  describe: string,
  kind: string,
  readRow: (row: Readonly<Record<string, unknown>>) => T,
  showRow: (row: T) => unknown = (row) => row,
): Setting<readonly T[]> {
  const parse = (raw: unknown): readonly T[] => {
    const list: unknown = typeof raw === 'string' ? JSON.parse(raw) : raw
    if (!Array.isArray(list)) throw new Error('must be a list')
    return list.map((row: unknown, index) => {
      try {
        if (typeof row !== 'object' || row === null || Array.isArray(row))
          throw new Error('must be a mapping')
        return readRow(row as Readonly<Record<string, unknown>>)
      } catch (error) {
        throw new Error(`entry ${String(index + 1)}: ${(error as Error).message}`, { cause: error })
      }
    })
  }
  return make(kind, describe, [], parse, (value) => JSON.stringify(value.map(showRow)))
}

/** A list of texts: YAML in the file, JSON in a flag or variable. `check`: throws for a bad one. */
export function words(
  describe: string,
  check: (word: string) => unknown = () => undefined,
): Setting<readonly string[]> {
  const parse = (raw: unknown): readonly string[] => {
    const list: unknown = typeof raw === 'string' ? JSON.parse(raw) : raw
    if (!Array.isArray(list) || !list.every((word) => typeof word === 'string'))
      throw new Error('must be a list of texts')
    list.forEach(check)
    return list
  }
  return make('list of texts', describe, [], parse, (value) => JSON.stringify(value))
}

/** A setting whose values may name programs to run. */
export function running<T>(setting: Setting<T>, runsProgram: (value: T) => boolean): Setting<T> {
  return { ...setting, runsProgram }
}

/** Refuses a row that has other fields than those named. */
export function rowFields(row: Readonly<Record<string, unknown>>, names: readonly string[]): void {
  const unknown = Object.keys(row).find((name) => !names.includes(name))
  if (unknown !== undefined)
    throw new Error(`unknown key ${JSON.stringify(unknown)}; known are ${names.join(', ')}`)
}
