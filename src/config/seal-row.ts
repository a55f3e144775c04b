import { nameField } from './row-fields.ts'
import { rowFields } from './setting.ts'

const PIN = /^sha256:[0-9a-f]{64}$/

/** One row of `seal.callers`: a caller, and the pin of the key that it seals with. */
export interface SealCallerRow {
  readonly caller: string
  readonly pin: string
}

/** One row of `seal.clusters`: how the agents of a cluster are known. */
export interface SealClusterRow {
  readonly cluster: string
  /** Of the keys of its agents. */
  readonly pins: readonly string[]
  /** CA of the customer's that certifies them. */
  readonly caFile: string | undefined
}

/** Reads a row of `seal.callers`. Throws an Error that says what is allowed. */
export function readSealCaller(row: Readonly<Record<string, unknown>>): SealCallerRow {
  rowFields(row, ['caller', 'pin'])
  return { caller: nameField(row, 'caller'), pin: readPin(row.pin) }
}

/** Reads a row of `seal.clusters`. Throws an Error that says what is allowed. */
export function readSealCluster(row: Readonly<Record<string, unknown>>): SealClusterRow {
  rowFields(row, ['cluster', 'pins', 'caFile'])
  const { pins = [], caFile } = row
  if (!Array.isArray(pins)) throw new Error('pins must be a list of sha256:HEX')
  if (caFile !== undefined && (typeof caFile !== 'string' || caFile === ''))
    throw new Error('caFile must be a path')
  if (pins.length === 0 && caFile === undefined)
    throw new Error('needs pins, as agent seal show prints them, or caFile')
  return { cluster: nameField(row, 'cluster'), pins: pins.map(readPin), caFile }
}

/** Reads a pin. Throws an Error that says what is allowed. */
export function readPin(value: unknown): string {
  if (typeof value === 'string' && PIN.test(value)) return value
  throw new Error('pin must be sha256: and 64 hex digits, of lower case')
}
