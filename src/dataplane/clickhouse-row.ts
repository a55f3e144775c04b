import type { BackendFiles } from './backend-files.ts'

/** Types that a parameter of a named query may have. */
export const PARAMETER_TYPES = [
  ...['String', 'UUID', 'Bool', 'Date', 'DateTime', 'Float64'],
  ...['Int8', 'Int16', 'Int32', 'Int64', 'UInt8', 'UInt16', 'UInt32', 'UInt64'],
] as const

/** One of them. */
export type ParameterType = (typeof PARAMETER_TYPES)[number]

/** A query that callers may ask for by its name. */
export interface NamedQuery {
  readonly name: string
  readonly sql: string
  /** Those that stand in it as {name:Type}, which a call gives all of. */
  readonly parameters: ReadonlyMap<string, ParameterType>
}

/** One row of `clickhouse:`. */
export interface ClickhouseRow extends BackendFiles {
  readonly name: string
  readonly url: URL
  readonly user: string
  readonly passwordFile: string | undefined
  readonly database: string | undefined
  readonly queries: readonly NamedQuery[]
  /** Whether our bounds go with each query; false: the user's profile (readonly = 1) takes none, and has its own. */
  readonly sendsSettings: boolean
  readonly rowsMax: number
  readonly bytesMax: number
  readonly timeoutMs: number
}
