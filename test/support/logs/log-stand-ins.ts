import { createVerify, type KeyObject } from 'node:crypto'
import type { KeyFilePaths } from '../../../src/identity/key-files.ts'
import { StandIn, type Answered, type Asked } from '../secrets/stand-ins.ts'

/** One entry that a stand-in keeps. */
export interface KeptLine {
  readonly timeNs: bigint
  readonly text: string
  readonly labels: Readonly<Record<string, string>>
}

/** Keeps lines, and finds those of a span in their order. */
abstract class LogStandIn extends StandIn {
  readonly kept: KeptLine[] = []
  /** Entries of one answer. */
  pageMax = 1000

  protected find(
    labels: Readonly<Record<string, string>>,
    fromNs: bigint,
    toNs: bigint,
  ): readonly KeptLine[] {
    return this.kept
      .filter(
        (one) =>
          Object.entries(labels).every(([name, value]) => one.labels[name] === value) &&
          one.timeNs >= fromNs &&
          one.timeNs < toNs,
      )
      .sort((a, b) => Number(a.timeNs - b.timeNs))
  }
}

/** Loki, as grafana.com/docs/loki/latest/reference/loki-http-api says of query_range. */
export class LokiStandIn extends LogStandIn {
  protected override answer({ method, url, headers }: Asked): Answered {
    if (headers.authorization !== 'Bearer of-loki') return { status: 401 }
    if (headers['x-scope-orgid'] !== 'acme') return { status: 401 }
    if (method !== 'GET' || url.pathname !== '/loki/api/v1/query_range') return { status: 404 }
    const query = url.searchParams
    const selector = /^\{((?:[a-z_]+="[^"\\]*",?)+)\}$/.exec(query.get('query') ?? '')?.[1]
    const [limit, direction] = [Number(query.get('limit')), query.get('direction')]
    if (selector === undefined || limit < 1 || limit > 5000) return { status: 400 }
    const labels = Object.fromEntries(
      [...selector.matchAll(/([a-z_]+)="([^"]*)"/g)].map(([, name, value]) => [name!, value!]),
    )
    const [start, end] = [BigInt(query.get('start') ?? 0), BigInt(query.get('end') ?? 0)]
    const all = this.find(labels, start, end)
    const some = direction === 'backward' ? all.slice(-limit).toReversed() : all.slice(0, limit)
    const streams = Map.groupBy(some, (one) => JSON.stringify(one.labels))
    const result = [...streams].map(([stream, lines]) => ({
      stream: JSON.parse(stream) as unknown,
      values: lines.map(({ timeNs, text }) => [String(timeNs), text]),
    }))
    return { status: 200, body: { status: 'success', data: { resultType: 'streams', result } } }
  }
}

/** Cloud Logging, as cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list says, for one service account. */
export class GoogleLogsStandIn extends LogStandIn {
  readonly #key: KeyObject

  constructor(files: KeyFilePaths, key: KeyObject) {
    super(files)
    this.#key = key
  }

  protected override answer({ method, url, headers, text }: Asked): Answered {
    const [head = '', claims = '', signature = ''] = (headers.authorization ?? '')
      .replace('Bearer ', '')
      .split('.')
    const isSigned = createVerify('sha256')
      .update(`${head}.${claims}`)
      .verify(this.#key, signature, 'base64url')
    const { scope } = JSON.parse(Buffer.from(claims, 'base64url').toString() || '{}') as {
      scope?: string
    }
    if (!isSigned || scope?.includes('logging.read') !== true) return { status: 401 }
    if (method !== 'POST' || url.pathname !== '/v2/entries:list') return { status: 404 }
    const asked = JSON.parse(text) as {
      resourceNames?: unknown
      filter?: string
      orderBy?: string
      pageSize?: number
      pageToken?: string
    }
    if (JSON.stringify(asked.resourceNames) !== '["projects/acme-project"]') return { status: 403 }
    const clauses = (asked.filter ?? '').split(' AND ')
    const span = clauses.filter((one) => one.startsWith('timestamp'))
    const [from = '', to = ''] = span.map((one) => /"(.*)"$/.exec(one)?.[1] ?? '')
    const labels = Object.fromEntries(
      clauses
        .filter((one) => !span.includes(one))
        .map((one) => /^labels\.(\w+)="([\w.-]+)"$/.exec(one)?.slice(1) ?? ['', '']),
    ) as Record<string, string>
    const all = this.find(labels, nanosOf(from), nanosOf(to))
    const ordered = asked.orderBy === 'timestamp desc' ? all.toReversed() : all
    const first = Number(asked.pageToken ?? 0)
    const size = Math.min(this.pageMax, asked.pageSize ?? 50)
    const entries = ordered.slice(first, first + size).map((one) => ({
      timestamp: textOf(one.timeNs),
      insertId: `i${String(this.kept.indexOf(one))}`,
      ...(one.text.startsWith('{')
        ? { jsonPayload: JSON.parse(one.text) as unknown }
        : { textPayload: one.text }),
    }))
    const next = first + size < ordered.length ? { nextPageToken: String(first + size) } : {}
    return { status: 200, body: { entries, ...next } }
  }
}

/** Azure Monitor's query API, as learn.microsoft.com/rest/api/loganalytics says, for the queries that are made here. */
export class AzureMonitorStandIn extends LogStandIn {
  isPartial = false

  protected override answer({ method, url, headers, text }: Asked): Answered {
    const [, claims = ''] = (headers.authorization ?? '').replace('Bearer ', '').split('.')
    const { aud } = JSON.parse(Buffer.from(claims, 'base64url').toString() || '{}') as {
      aud?: string
    }
    if (aud !== 'https://api.loganalytics.io') return { status: 401 }
    const path = '/v1/workspaces/01234567-89ab-cdef-0123-456789abcdef/query'
    if (method !== 'POST' || url.pathname !== path) return { status: 404 }
    const { query } = JSON.parse(text) as { query: string }
    const form =
      /^ContainerLogV2 \| where (?<match>.*) \| where TimeGenerated >= datetime\((?<from>[^)]*)\) and TimeGenerated < datetime\((?<to>[^)]*)\) \| top (?<count>\d+) by TimeGenerated (?<order>asc|desc) \| project TimeGenerated, LogMessage$/
    const groups = form.exec(query)?.groups
    if (groups === undefined) return { status: 400 }
    const { match = '', from = '', to = '', count = '', order = '' } = groups
    const labels = Object.fromEntries(
      match.split(' and ').map((one) => /^(\w+) == "([\w.-]+)"$/.exec(one)?.slice(1) ?? ['', '']),
    ) as Record<string, string>
    const all = this.find(labels, nanosOf(from), nanosOf(to))
    const ordered = order === 'desc' ? all.toReversed() : all
    const rows = ordered
      .slice(0, Math.min(Number(count), this.pageMax))
      .map(({ timeNs, text: line }) => [textOf(timeNs - (timeNs % 100n)), line])
    const columns = [{ name: 'TimeGenerated' }, { name: 'LogMessage' }]
    const error = this.isPartial ? { error: { code: 'PartialError' } } : {}
    return {
      status: 200,
      body: { tables: [{ name: 'PrimaryResult', columns, rows }], ...error },
    }
  }
}

function nanosOf(text: string): bigint {
  const [seconds = '', fraction = ''] = text.replace('Z', '').split('.')
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0'))
}

function textOf(timeNs: bigint): string {
  const seconds = new Date(Number(timeNs / 1_000_000_000n) * 1000).toISOString().slice(0, 19)
  return `${seconds}.${String(timeNs % 1_000_000_000n).padStart(9, '0')}Z`
}
