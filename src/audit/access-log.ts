import { createHash } from 'node:crypto'

/** One use of an object, as its store has logged it. */
export interface Access {
  readonly atMs: number
  /** SHA-256 of bucket, slash and key, in hex: as the record has it. */
  readonly keyHash: string
  /** GET or PUT: a look at the head counts as GET. */
  readonly verb: 'GET' | 'PUT'
  readonly isDone: boolean
}

/** The forms of access logs that are read. */
export const LOG_FORMS = ['s3', 'gcs', 'azure'] as const
/** The form of an access log. */
export type LogForm = (typeof LOG_FORMS)[number]

/** Returns what a line of an access log says of the use of a presigned URL; undefined: it is of something else. */
export function accessOf(line: string, form: LogForm): Access | undefined {
  return READERS[form](line)
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
/** Fields apart by spaces, some in brackets, some in quotes (docs.aws.amazon.com: "Amazon S3 server access log format"). */
const S3_FIELD = /\[([^\]]*)\]|"((?:[^"\\]|\\.)*)"|(\S+)/g
const S3_TIME = /^(\d\d)\/(\w{3})\/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})$/

const READERS: Readonly<Record<LogForm, (line: string) => Access | undefined>> = {
  s3: (line) => {
    const fields = [...line.matchAll(S3_FIELD)].map(([, a, b, c]) => a ?? b ?? c ?? '')
    const [, bucket = '', time = '', , , , operation = '', key = '', , status = ''] = fields
    // Version 2 of signatures is none of ours; the kind of authentication is the 22nd field.
    const isPresigned = fields[21] === 'QueryString'
    const verb = verbOf(operation.split('.')[1])
    const atMs = s3Time(time)
    if (!isPresigned || verb === undefined || atMs === undefined) return undefined
    // Keys stand there encoded twice.
    return access(bucket, decoded(decoded(key)), verb, atMs, Number(status))
  },
  gcs: (line) => {
    const [time = '', , , , method, uri = '', status = ''] = csvFields(line)
    const verb = verbOf(method)
    const url = URL.canParse(uri, 'https://x') ? new URL(uri, 'https://x') : undefined
    if (verb === undefined || url?.searchParams.has('X-Goog-Signature') !== true) return undefined
    const [bucket = '', ...key] = url.pathname.slice(1).split('/')
    return access(bucket, decoded(key.join('/')), verb, Number(time) / 1000, Number(status))
  },
  azure: (line) => {
    const value = objectOf(line)
    const { time, operationName, statusCode, uri, identity } = value
    const kind = (identity as { type?: unknown } | undefined)?.type
    const verb = AZURE_VERBS[String(operationName)]
    const url = typeof uri === 'string' && URL.canParse(uri) ? new URL(uri) : undefined
    if (!/sas/i.test(String(kind)) || verb === undefined || url === undefined) return undefined
    const [bucket = '', ...key] = url.pathname.slice(1).split('/')
    return access(
      bucket,
      decoded(key.join('/')),
      verb,
      Date.parse(String(time)),
      Number(statusCode),
    )
  },
}

const AZURE_VERBS: Readonly<Record<string, Access['verb'] | undefined>> = {
  GetBlob: 'GET',
  GetBlobProperties: 'GET',
  PutBlob: 'PUT',
  PutBlock: 'PUT',
}

function access(
  bucket: string,
  key: string,
  verb: Access['verb'],
  atMs: number,
  status: number,
): Access | undefined {
  if (Number.isNaN(atMs)) return undefined
  const keyHash = createHash('sha256').update(`${bucket}/${key}`).digest('hex')
  return { atMs, keyHash, verb, isDone: status >= 200 && status < 300 }
}

function verbOf(method: string | undefined): Access['verb'] | undefined {
  if (method === 'GET' || method === 'HEAD') return 'GET'
  return method === 'PUT' ? 'PUT' : undefined
}

function s3Time(text: string): number | undefined {
  const [, day, month = '', year, hour, minute, second, zone = ''] = S3_TIME.exec(text) ?? []
  const at = MONTHS.indexOf(month)
  if (at === -1) return undefined
  const iso = `${String(year)}-${String(at + 1).padStart(2, '0')}-${String(day)}`
  return Date.parse(`${iso}T${String(hour)}:${String(minute)}:${String(second)}${zone}`)
}

function csvFields(line: string): string[] {
  return [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map(([, field = '']) =>
    field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field,
  )
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    // It is no key of ours, then.
    return text
  }
}

function objectOf(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    // Another line than those of its resource log.
    return {}
  }
}
