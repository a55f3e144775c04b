import { PosternError } from '../../base/errors.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import { readSecretFile } from '../../identity/key-files.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import { readBackendFiles } from '../backend-files.ts'
import type { ClickhouseRow, NamedQuery, ParameterType } from '../clickhouse-row.ts'

const OK = 200
const DENIED = [401, 403, 516]
const NOT_TAKEN = [400, 404, 413, 500]
const VALUE_BYTES_MAX = 1024
const CELL_COUNT_MAX = 1_000_000

/** What a query has come to. */
export interface Selected {
  readonly columns: { readonly name: string; readonly type: string }[]
  readonly rows: { readonly cells: { readonly text?: string }[] }[]
}

/** How long a query may still take, and when it is to end. */
export interface SelectCall {
  readonly leftMs: number
  readonly signal: AbortSignal
  /** Drawn for this call: the server knows it by that. */
  readonly queryId: string
}

const FORMS: Readonly<Record<ParameterType, RegExp>> = {
  String: /^[^\0]*$/,
  UUID: /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/,
  Bool: /^(?:true|false|0|1)$/,
  Date: /^\d{4}-\d\d-\d\d$/,
  DateTime: /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/,
  Float64: /^-?\d{1,20}(?:\.\d{1,20})?(?:e-?\d{1,3})?$/,
  Int8: /^-?\d{1,3}$/,
  Int16: /^-?\d{1,5}$/,
  Int32: /^-?\d{1,10}$/,
  Int64: /^-?\d{1,19}$/,
  UInt8: /^\d{1,3}$/,
  UInt16: /^\d{1,5}$/,
  UInt32: /^\d{1,10}$/,
  UInt64: /^\d{1,20}$/,
}

/**
 * Runs a query that the customer's settings name, with values that the server substitutes by their types, and takes what comes back
 * (clickhouse.com/docs, "HTTP Interface"). It reads alone, and ends with its caller.
 * @throws RpcError QUERY_REFUSED; BACKEND_UNREACHABLE, BACKEND_REFUSED, CREDENTIALS_MISSING
 */
export async function selectNamed(
  row: ClickhouseRow,
  query: NamedQuery,
  values: Readonly<Record<string, string>>,
  call: SelectCall,
): Promise<Selected> {
  const msMax = Math.min(row.timeoutMs, call.leftMs)
  const settings: Record<string, string> = {
    ...judgedValues(query, values),
    ...{ query_id: call.queryId, wait_end_of_query: '1' },
    ...(row.sendsSettings ? boundsOf(row, msMax) : {}),
    ...(row.database === undefined ? {} : { database: row.database }),
  }
  const sql = `${query.sql}\nFORMAT JSONCompact`
  const selected = await ask(row, sql, settings, { ...call, leftMs: msMax })
  if (selected.rows.length <= row.rowsMax) return selected
  throw refused(`it has over ${String(row.rowsMax)} rows`)
}

/** What the server itself holds a query to. */
function boundsOf({ rowsMax, bytesMax }: ClickhouseRow, msMax: number): Record<string, string> {
  return {
    readonly: '1',
    max_result_rows: String(rowsMax),
    max_result_bytes: String(bytesMax),
    result_overflow_mode: 'throw',
    max_execution_time: String(Math.max(1, Math.ceil(msMax / 1000))),
    // Whoever hangs up ends the query.
    cancel_http_readonly_queries_on_client_close: '1',
    output_format_json_quote_64bit_integers: '1',
  }
}

/** Asks a ClickHouse whether its disks are encrypted. The rest as selectNamed. */
export async function askDisks(row: ClickhouseRow, call: SelectCall): Promise<Selected> {
  const sql = 'SELECT name, is_encrypted FROM system.disks ORDER BY name FORMAT JSONCompact'
  const readonly = row.sendsSettings ? { readonly: '1' } : {}
  return await ask(row, sql, { query_id: call.queryId, ...readonly }, call)
}

async function ask(
  row: ClickhouseRow,
  sql: string,
  settings: Readonly<Record<string, string>>,
  { leftMs, signal }: SelectCall,
): Promise<Selected> {
  const { caPem, certificatePem, keyPem } = readBackendFiles(row)
  const url = new URL(row.url)
  url.search = new URLSearchParams(settings).toString()
  const password =
    row.passwordFile === undefined ? undefined : readSecretFile(row.passwordFile).trim()
  const answer = await askBackend({
    ...{ url, caPem, certificatePem, keyPem, signal, body: sql, msMax: leftMs },
    method: 'POST',
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'x-clickhouse-user': row.user,
      ...(password === undefined ? {} : { 'x-clickhouse-key': password }),
    },
    bytesMax: row.bytesMax,
  })
  const { status } = answer
  if (DENIED.includes(status))
    throw new PosternError('CREDENTIALS_MISSING', `status ${String(status)}`)
  // Its own words may hold what was asked.
  if (status !== OK) {
    const code = NOT_TAKEN.includes(status) ? 'QUERY_REFUSED' : 'BACKEND_REFUSED'
    throw new PosternError(code, `ClickHouse does not take it: status ${String(status)}`)
  }
  return decode(answer.body)
}

/** Every parameter of the query, and none else, each of the form of its type. @throws RpcError QUERY_REFUSED */
function judgedValues(
  { parameters }: NamedQuery,
  values: Readonly<Record<string, string>>,
): Record<string, string> {
  const unknown = Object.keys(values).find((name) => !parameters.has(name))
  if (unknown !== undefined) throw refused(`it has no parameter ${JSON.stringify(unknown)}`)
  return Object.fromEntries(
    [...parameters].map(([name, type]) => {
      const value = Object.hasOwn(values, name) ? values[name] : undefined
      if (value === undefined) throw refused(`its parameter ${name} is missing`)
      if (Buffer.byteLength(value) > VALUE_BYTES_MAX || !FORMS[type].test(value))
        throw refused(
          `its parameter ${name} is no ${type} of at most ${String(VALUE_BYTES_MAX)} bytes`,
        )
      return [`param_${name}`, escaped(value)]
    }),
  )
}

/** As the server reads values: escaped like a field of TSV. */
function escaped(value: string): string {
  return value
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
}

/** Decodes JSONCompact, as untrusted as any answer. @throws BACKEND_REFUSED */
function decode(body: Buffer): Selected {
  try {
    const { meta, data } = JSON.parse(body.toString(), exact) as { meta: unknown; data: unknown }
    if (!Array.isArray(meta) || !Array.isArray(data)) throw new TypeError('no rows')
    const columns = meta.map((one: unknown) => {
      const { name, type } = one as { name: unknown; type: unknown }
      if (typeof name !== 'string' || typeof type !== 'string') throw new TypeError('no column')
      return { name, type }
    })
    if (columns.length * data.length > CELL_COUNT_MAX) throw new TypeError('too many cells')
    const rows = data.map((one: unknown) => {
      if (!Array.isArray(one) || one.length !== columns.length) throw new TypeError('no row')
      return { cells: one.map(cellOf) }
    })
    return { columns, rows }
  } catch (error) {
    throw new PosternError(
      'BACKEND_REFUSED',
      'its answer is none of ClickHouse',
      {},
      { cause: error },
    )
  }
}

/** A number that JavaScript would round stays as it was written. */
function exact(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const isRounded = typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER
  return isRounded ? (context?.source ?? value) : value
}

function cellOf(value: unknown): { readonly text?: string } {
  if (value === null) return {}
  return { text: typeof value === 'string' ? value : JSON.stringify(value) }
}

function refused(why: string): Error {
  return rpcErrorOfCode('QUERY_REFUSED', `the query: ${why}`)
}
