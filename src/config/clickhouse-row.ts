import {
  PARAMETER_TYPES,
  type ClickhouseRow,
  type NamedQuery,
  type ParameterType,
} from '../dataplane/clickhouse-row.ts'
import { backendUrl } from './backend-url.ts'
import {
  choiceField,
  nameField,
  pathField,
  textField,
  trustFields,
  within,
  type Row,
} from './row-fields.ts'
import { parseBytes, parseDuration, rowFields } from './setting.ts'

const FIELDS = [
  ...['name', 'url', 'plaintext', 'user', 'passwordFile', 'database', 'queries', 'rowsMax'],
  ...['bytesMax', 'timeout', 'caFile', 'certificateFile', 'keyFile', 'settings'],
]
const SQL_MAX = 16 * 1024
const PLACEHOLDER = /\{([A-Za-z_][A-Za-z0-9_]{0,62}):([A-Za-z0-9]+)\}/g
const READS = /^\s*(?:SELECT|WITH)\b/i
/** What would end our own words behind it, or write. A text in quotes that holds them is told from them by nobody: it is refused too. */
const REFUSED =
  /;|--|\/\*|#|\b(?:FORMAT|SETTINGS|INTO\s+OUTFILE|INSERT|ALTER|DROP|CREATE|GRANT|SYSTEM)\b/i
const MIB = 1024 ** 2

/** Reads one row of `clickhouse`. Throws a plain Error for the loader to place. */
export function readClickhouse(row: Row): ClickhouseRow {
  rowFields(row, FIELDS)
  const name = nameField(row)
  try {
    const bytes = parseBytes(row.bytesMax ?? '4MiB')
    return {
      ...{ name, url: backendUrl(row), ...trustFields(row), queries: readQueries(row.queries) },
      sendsSettings: choiceField(row, 'settings', ['sent', 'of-profile'], 'sent') === 'sent',
      user: textField(row, 'user') ?? 'default',
      passwordFile: pathField(row, 'passwordFile'),
      database: textField(row, 'database'),
      rowsMax: within(Number(row.rowsMax ?? 10_000), 1, 1_000_000, 'rowsMax', '1 to 1000000'),
      bytesMax: within(bytes, 1024, 64 * MIB, 'bytesMax', '1KiB to 64MiB'),
      timeoutMs: within(parseDuration(row.timeout ?? '30s'), 1000, 600_000, 'timeout', '1s to 10m'),
    }
  } catch (error) {
    throw new Error(`clickhouse ${name}: ${(error as Error).message}`, { cause: error })
  }
}

function readQueries(value: unknown): readonly NamedQuery[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : []
  if (list.length === 0) throw new Error('queries must be a list of { name, sql }')
  const queries = list.map((one) => readQuery((one ?? {}) as Row))
  const twice = queries.find((one, i) => queries.findIndex(({ name }) => name === one.name) !== i)
  if (twice !== undefined) throw new Error(`query ${twice.name} stands twice`)
  return queries
}

function readQuery(row: Row): NamedQuery {
  rowFields(row, ['name', 'sql'])
  const name = nameField(row)
  const sql = textField(row, 'sql')?.trim() ?? ''
  if (!READS.test(sql)) throw new Error(`query ${name}: sql must begin with SELECT or WITH`)
  if (Buffer.byteLength(sql) > SQL_MAX) throw new Error(`query ${name}: sql has over 16KiB`)
  const bad = REFUSED.exec(sql)?.[0]
  if (bad !== undefined)
    throw new Error(
      `query ${name}: ${JSON.stringify(bad)} may not stand in it: a query reads, and the agent says how`,
    )
  const parameters = new Map<string, ParameterType>()
  for (const [, parameter = '', type] of sql.matchAll(PLACEHOLDER)) {
    const known = PARAMETER_TYPES.find((one) => one === type)
    if (known === undefined)
      throw new Error(
        `query ${name}: {${parameter}:${type ?? ''}} must be one of ${PARAMETER_TYPES.join(', ')}`,
      )
    if ((parameters.get(parameter) ?? known) !== known)
      throw new Error(`query ${name}: ${parameter} has two types`)
    parameters.set(parameter, known)
  }
  return { name, sql, parameters }
}

/** Formats the row of a ClickHouse for display. */
export function showClickhouse({ url, queries, ...row }: ClickhouseRow): object {
  const told = queries.map(({ name, sql, parameters }) => ({
    ...{ name, sql, parameters: Object.fromEntries(parameters) },
  }))
  return { ...row, url: url.href, queries: told }
}
