import { PosternError } from '../../base/errors.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import { readBackendFiles } from '../backend-files.ts'
import type { PrometheusRow } from '../prometheus-row.ts'

const OK = 200
const REFUSED_MIN = 400
const UNKNOWN = [401, 403]
const CERTAIN_MS = 1000

/** One request to the API of Prometheus: its path behind /api/v1/, and what it asks. */
export interface ApiCall {
  readonly path: string
  readonly parameters: readonly (readonly [string, string])[]
  /** How long the call may still take, in ms. */
  readonly leftMs: number
  readonly signal: AbortSignal
}

/** Judges the files that a source names. @throws FILE_UNREADABLE, KEY_EXPOSED */
export function judgePrometheusFiles(row: PrometheusRow): void {
  readBackendFiles(row)
}

/**
 * Asks a source by POST, so that no query is in a URL (prometheus.io/docs, "HTTP API"). Returns its `data`, undecoded
 * further. @throws BACKEND_UNREACHABLE, BACKEND_REFUSED, CREDENTIALS_MISSING, QUERY_REFUSED
 */
export async function askPrometheus(row: PrometheusRow, call: ApiCall): Promise<unknown> {
  const { caPem, certificatePem, keyPem, token } = readBackendFiles(row)
  const msMax = Math.min(row.timeoutMs, call.leftMs)
  const parameters = new URLSearchParams(call.parameters.map(([name, value]) => [name, value]))
  const isQuery = call.path.startsWith('query')
  // It gives up by itself, a moment before we do.
  if (isQuery) parameters.set('timeout', `${String(Math.max(CERTAIN_MS, Math.floor(msMax)))}ms`)
  const isRead = call.path.startsWith('label/')
  const base = row.url.pathname.replace(/\/$/, '')
  const url = new URL(`${base}/api/v1/${call.path}`, row.url)
  if (isRead) url.search = parameters.toString()
  const answer = await askBackend({
    ...{ url, caPem, certificatePem, keyPem, msMax, signal: call.signal },
    method: isRead ? 'GET' : 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(isRead ? {} : { body: parameters.toString() }),
    bytesMax: row.bytesMax,
  })
  if (UNKNOWN.includes(answer.status))
    throw new PosternError('CREDENTIALS_MISSING', `status ${String(answer.status)}`)
  // Its own words may hold what was asked.
  if (answer.status !== OK) {
    const isOurs = answer.status === REFUSED_MIN || answer.status === 422
    const code = isOurs ? 'QUERY_REFUSED' : 'BACKEND_REFUSED'
    throw new PosternError(code, `the source does not take it: status ${String(answer.status)}`)
  }
  return dataOf(answer.body)
}

function dataOf(body: Buffer): unknown {
  try {
    const { status, data } = JSON.parse(body.toString()) as { status?: unknown; data?: unknown }
    if (status === 'success' && data !== undefined) return data
  } catch {
    // As any other that is no answer.
  }
  throw new PosternError('BACKEND_REFUSED', 'its answer is none of Prometheus')
}
