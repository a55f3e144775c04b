import {
  LOGS_TYPES,
  type LogsRow,
  type LogsRules,
  type LogsType,
  type Redaction,
  type TimedRules,
} from '../dataplane/logs-row.ts'
import { backendUrl } from './backend-url.ts'
import { labelledText, matchField, neededText, piecesOf } from './log-texts.ts'
import { nameField, pathField, textField, trustFields, within, type Row } from './row-fields.ts'
import { parseBytes, parseDuration, rowFields } from './setting.ts'

const TRUST = ['caFile', 'certificateFile', 'keyFile', 'tokenFile', 'plaintext']
const TIMED = ['settle', 'reach', 'interval']
const FIELDS: Readonly<Record<LogsType, readonly string[]>> = {
  files: ['directory', 'path'],
  journald: ['match', 'directory'],
  kubernetes: ['url', 'caFile', 'tokenFile', 'namespace', 'pod', 'container'],
  loki: ['url', 'tenant', 'match', ...TRUST, ...TIMED],
  cloudwatch: [
    ...['region', 'endpoint', 'group', 'stream', 'caFile', 'credentialsFile', 'profile'],
    ...['plaintext', ...TIMED],
  ],
  google: ['project', 'endpoint', 'match', 'caFile', 'credentialsFile', 'plaintext', ...TIMED],
  azure: [
    ...['url', 'workspace', 'table', 'timeColumn', 'textColumn', 'match', 'caFile', 'plaintext'],
    ...TIMED,
  ],
  objects: ['store', 'prefix'],
}
const KIB = 1024
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const POD = '/var/run/secrets/kubernetes.io/serviceaccount'
/** systemd.journal-fields(7). */
const JOURNAL_FIELD = /^[A-Z_][A-Z0-9_]{0,63}$/
/** Of Loki, and of Prometheus before it. */
const LOKI_LABEL = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/
const GOOGLE_FIELD = /^[A-Za-z][\w.-]{0,127}$/
const COLUMN = /^[A-Za-z_]\w{0,127}$/
const REGION = /^[a-z0-9-]{1,40}$/
const PROJECT = /^[a-z][a-z0-9-]{4,28}[a-z0-9]$/
const WORKSPACE = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const TENANT = /^[\w.|-]{1,150}$/

/** Reads one row of `logs`. Throws a plain Error for the loader to place. */
export function readLogs(row: Row): LogsRow {
  const name = nameField(row)
  try {
    const type = LOGS_TYPES.find((one) => one === row.type)
    if (type === undefined) throw new Error(`type must be one of ${LOGS_TYPES.join(', ')}`)
    rowFields(row, ['name', 'type', 'lineMax', 'redact', ...FIELDS[type]])
    const lineBytesMax = within(
      parseBytes(row.lineMax ?? '16KiB'),
      64,
      64 * KIB,
      'lineMax',
      '64B to 64KiB',
    )
    return READERS[type](row, { name, lineBytesMax, redact: readRedact(row.redact) })
  } catch (error) {
    throw new Error(`logs ${name}: ${(error as Error).message}`, { cause: error })
  }
}

const READERS: Readonly<Record<LogsType, (row: Row, rules: LogsRules) => LogsRow>> = {
  files: (row, rules) => {
    const directory = pathField(row, 'directory')
    if (directory === undefined) throw new Error('directory is missing')
    return { ...rules, type: 'files', directory, path: readPath(row) }
  },
  journald: (row, rules) => ({
    ...{ ...rules, type: 'journald', directory: pathField(row, 'directory') },
    match: matchField(row, JOURNAL_FIELD, '{ _SYSTEMD_UNIT: "task-{run}.service" }'),
  }),
  kubernetes: (row, rules) => ({
    ...{ ...rules, type: 'kubernetes' },
    url: backendUrl({ ...row, url: row.url ?? 'https://kubernetes.default.svc' }),
    caFile: pathField(row, 'caFile') ?? `${POD}/ca.crt`,
    tokenFile: pathField(row, 'tokenFile') ?? `${POD}/token`,
    namespace: neededText(row, 'namespace'),
    pod: neededText(row, 'pod'),
    container: labelledText(row, 'container'),
  }),
  loki: (row, rules) => ({
    ...{ ...rules, type: 'loki', url: backendUrl(row), ...trustFields(row) },
    ...timedRules(row, '2s', '1s'),
    tenant: row.tenant === undefined ? undefined : matching(row, 'tenant', TENANT, 'an id'),
    match: matchField(row, LOKI_LABEL, '{ namespace: team-a, run: "{run}" }'),
  }),
  cloudwatch: (row, rules) => {
    const region = matching(row, 'region', REGION, 'a region such as eu-west-1')
    const endpoint = row.endpoint ?? `https://logs.${region}.amazonaws.com`
    return {
      ...{ ...rules, type: 'cloudwatch', region, ...timedRules(row, '10s', '2s') },
      endpoint: backendUrl({ ...row, endpoint }, 'endpoint'),
      group: neededText(row, 'group'),
      stream: neededText(row, 'stream'),
      caFile: pathField(row, 'caFile'),
      credentialsFile: pathField(row, 'credentialsFile'),
      profile: textField(row, 'profile'),
    }
  },
  google: (row, rules) => ({
    ...{ ...rules, type: 'google', ...timedRules(row, '10s', '10s') },
    project: matching(row, 'project', PROJECT, 'the id of a project'),
    endpoint: backendUrl({ endpoint: 'https://logging.googleapis.com', ...row }, 'endpoint'),
    match: matchField(row, GOOGLE_FIELD, '{ resource.type: k8s_container, labels.run: "{run}" }'),
    caFile: pathField(row, 'caFile'),
    credentialsFile: pathField(row, 'credentialsFile'),
  }),
  azure: (row, rules) => ({
    ...{ ...rules, type: 'azure', ...timedRules(row, '2m', '15s') },
    url: backendUrl({ url: 'https://api.loganalytics.azure.com', ...row }),
    workspace: matching(row, 'workspace', WORKSPACE, 'the id of a workspace, as a UUID'),
    table: matching({ table: 'ContainerLogV2', ...row }, 'table', COLUMN, 'the name of a table'),
    timeColumn: column({ timeColumn: 'TimeGenerated', ...row }, 'timeColumn'),
    textColumn: column({ textColumn: 'LogMessage', ...row }, 'textColumn'),
    match: matchField(row, COLUMN, '{ PodName: "{pod}" }'),
    caFile: pathField(row, 'caFile'),
  }),
  objects: (row, rules) => ({
    ...{ ...rules, type: 'objects' },
    store: nameField(row, 'store'),
    prefix: readPrefix(row),
  }),
}

function timedRules(row: Row, settle: string, interval: string): TimedRules {
  const settleMs = parseDuration(row.settle ?? settle)
  const reachMs = parseDuration(row.reach ?? '24h')
  const lookMs = parseDuration(row.interval ?? interval)
  return {
    settleMs: within(settleMs, 0, HOUR_MS, 'settle', '0s to 1h'),
    lookMs: within(lookMs, 1000, 300_000, 'interval', '1s to 5m'),
    reachMs: within(reachMs, 60_000, 3660 * DAY_MS, 'reach', '1m to 3660d'),
  }
}

function column(row: Row, name: string): string {
  return matching(row, name, COLUMN, 'the name of a column')
}

function matching(row: Row, name: string, form: RegExp, words: string): string {
  const value = textField(row, name)
  if (value !== undefined && form.test(value)) return value
  throw new Error(`${name} must be ${words}`)
}

/** What lies under it is one log: without a slash at its end it would hold those of others. */
function readPrefix(row: Row): ReturnType<typeof piecesOf> {
  const text = textField(row, 'prefix')
  const segments = (text ?? '').split('/')
  const isPlain = segments.slice(0, -1).every((one) => one !== '' && one !== '.' && one !== '..')
  if (text?.endsWith('/') === true && isPlain) return piecesOf(text, 'prefix')
  throw new Error('prefix must end with a slash, such as logs/{run}/')
}

function readPath(row: Row): readonly ReturnType<typeof piecesOf>[] {
  const form =
    'path must be that of a file below directory, with labels in it, such as {run}/{task}.log'
  return (textField(row, 'path') ?? '').split('/').map((segment) => {
    if (segment === '' || segment === '.' || segment === '..') throw new Error(form)
    return piecesOf(segment, 'path')
  })
}

/** Formats the row of a source for display. */
export function showLogs(row: LogsRow): object {
  const plain = Object.fromEntries(
    Object.entries(row).map(([name, value]: [string, unknown]) => [
      name,
      value instanceof URL ? value.href : value instanceof Map ? Object.fromEntries(value) : value,
    ]),
  )
  return plain
}

function readRedact(value: unknown): readonly Redaction[] {
  const form = 'redact must be a list of { pattern, replacement }'
  if (value === undefined) return []
  if (!Array.isArray(value)) throw new Error(form)
  return value.map((one: unknown) => readRedaction((one ?? {}) as Row))
}

/** Reads one rule on what no line may say. Throws a plain Error for the loader to place. */
export function readRedaction({ pattern, replacement = '[redacted]' }: Row): Redaction {
  if (typeof pattern !== 'string' || pattern === '' || typeof replacement !== 'string')
    throw new Error('redact must be a list of { pattern, replacement }')
  if (!isRe2(pattern))
    throw new Error(`redact: ${JSON.stringify(pattern)} is no regular expression of RE2`)
  return { pattern, replacement }
}

/**
 * Whether an expression is one that RE2 takes, as far as can be told without RE2 itself, which is read when the first log is: one
 * of our own syntax without what takes longer than its text. What RE2 does not take all the same has no log told.
 */
function isRe2(pattern: string): boolean {
  if (/\(\?(?:[=!]|<[=!])|\\[1-9]|\\k</.test(pattern)) return false
  try {
    new RegExp(pattern.replace(/^\(\?[imsU]+\)/, ''))
    return true
  } catch {
    // As JavaScript reads it, which is near enough.
    return false
  }
}
