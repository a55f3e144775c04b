import { parseAddress, type Address } from '../base/address.ts'
import { PROBE_TYPES, type ProbeRow } from '../dataplane/probe-row.ts'
import { isLoopback, mayBePlain } from './plaintext.ts'
import { textField, type Row } from './row-fields.ts'
import { parseDuration, rowFields } from './setting.ts'

const FIELDS = [
  ...['service', 'type', 'target', 'path', 'status', 'body', 'caFile', 'grpcService', 'command'],
  ...['plaintext', 'interval', 'timeout', 'rise', 'fall', 'jitterPercent'],
]
const BODY_PATTERN_MAX = 256

/** Reads one row of `probes`. Throws a plain Error for the loader to place. */
export function readProbe(row: Readonly<Record<string, unknown>>): ProbeRow {
  rowFields(row, FIELDS)
  const service = textField(row, 'service')
  if (service === undefined) throw new Error('service is missing')
  const type = PROBE_TYPES.find((one) => one === row.type)
  if (type === undefined)
    throw new Error(`${service}: type must be one of ${PROBE_TYPES.join(', ')}`)
  const command = row.command ?? []
  if (!Array.isArray(command) || !command.every((word) => typeof word === 'string'))
    throw new Error(`${service}: command must be a list of texts: a program and its arguments`)
  if ((type === 'exec') !== command.length > 0)
    throw new Error(`${service}: command belongs to type exec, and exec needs one`)
  const target = targetOf(row, type)
  const path = textField(row, 'path') ?? '/'
  if (!/^\/[\x21-\x7e]*$/.test(path)) throw new Error(`${service}: path must begin with /`)
  const intervalMs = timeOf(row, 'interval', '10s', 1000)
  const timeoutMs = timeOf(row, 'timeout', '3s', 10)
  return {
    service,
    type,
    target,
    mayBePlain: mayBePlain(row),
    path,
    ...statusOf(row.status ?? '200-399'),
    body: patternOf(textField(row, 'body')),
    caFile: textField(row, 'caFile'),
    grpcService: textField(row, 'grpcService') ?? '',
    command,
    intervalMs,
    timeoutMs,
    rise: countOf(row, 'rise', 2, { min: 1, max: 100 }),
    fall: countOf(row, 'fall', 3, { min: 1, max: 100 }),
    jitterPercent: countOf(row, 'jitterPercent', 20, { min: 0, max: 100 }),
  }
}

/** A target of its own: what http and grpc say to it is plain. */
function targetOf(row: Row, type: ProbeRow['type']): Address | undefined {
  const text = textField(row, 'target')
  const isAllowed = mayBePlain(row)
  if (text === undefined) return undefined
  const target = parseAddress(text)
  const isPlain = type === 'http' || type === 'grpc'
  if (!isPlain || isAllowed || isLoopback(target.host)) return target
  throw new Error(
    `target ${text} is asked in plain text, and is not on this machine: type must be https or tcp, or the row say plaintext: allowed`,
  )
}

/** Formats the row of a probe for display, hiding the command's arguments and the URL's query, which may hold a password. */
export function showProbe(row: ProbeRow): object {
  const [program, ...args] = row.command
  const command = program === undefined ? [] : [program, `… ${String(args.length)} arguments`]
  const path = row.path.replace(/\?.*/, '?…')
  return { ...row, command, path, body: row.body?.source }
}

function timeOf(
  row: Readonly<Record<string, unknown>>,
  name: string,
  fallback: string,
  minMs: number,
): number {
  try {
    const ms = parseDuration(row[name] ?? fallback)
    if (ms >= minMs && ms <= 3_600_000) return ms
  } catch {
    // The same advice as for a number out of range.
  }
  throw new Error(`${name} must be a time from ${String(minMs)}ms to 1h, such as 10s`)
}

function countOf(
  row: Readonly<Record<string, unknown>>,
  name: string,
  fallback: number,
  { min, max }: { min: number; max: number },
): number {
  const value = row[name] ?? fallback
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max)
    return value
  throw new Error(`${name} must be a whole number from ${String(min)} to ${String(max)}`)
}

function statusOf(value: unknown): { statusMin: number; statusMax: number } {
  const [, from = '', to = from] = /^(\d{3})(?:-(\d{3}))?$/.exec(String(value)) ?? []
  const [statusMin, statusMax] = [Number(from), Number(to)]
  if (statusMin >= 100 && statusMax >= statusMin) return { statusMin, statusMax }
  throw new Error('status must be a number or a range, such as 200 or 200-399')
}

function patternOf(text: string | undefined): RegExp | undefined {
  if (text === undefined) return undefined
  if (text.length > BODY_PATTERN_MAX)
    throw new Error(`body is longer than ${String(BODY_PATTERN_MAX)} characters`)
  try {
    return new RegExp(text)
  } catch {
    // The pattern may hold what should not be printed.
    throw new Error('body must be a regular expression')
  }
}
