import { fillAll } from '../log-labels.ts'
import type { LokiLogsRow } from '../logs-row.ts'
import { readBackendFiles } from '../backend-files.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import { jsonAnswer, listIn } from './json-answer.ts'
import { smallerPage } from './smaller-page.ts'
import type { TimedAsk, TimedBackend, TimedPage, TimedPages } from './timed-log.ts'
import type { TimedEntry } from './timed-place.ts'

/** As many as a server gives by default (max_entries_limit_per_query is 5000). */
const PAGE = 1000
const LAST_MAX = 5000
const BYTES_MAX = 16 * 1024 * 1024

/** Grafana Loki, by its query_range (grafana.com/docs/loki, "HTTP API"). */
export class Loki implements TimedBackend {
  readonly #row: LokiLogsRow

  constructor(row: LokiLogsRow) {
    this.#row = row
  }

  open(labels: Readonly<Record<string, string>>): TimedPages {
    const match = fillAll(this.#row.match, labels)
    const query = `{${[...match].map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(',')}}`
    const ask = (more: Ask): Promise<TimedEntry[]> => this.#ask(query, more)
    return {
      doOverlap: true,
      log: query,
      page: async ({ fromNs, toNs, token, signal }: TimedAsk): Promise<TimedPage> => {
        const from = token === undefined ? fromNs : BigInt(token)
        const common = { fromNs: from, toNs, direction: 'forward', signal } as const
        const { found: entries, limit } = await smallerPage(PAGE, (count) =>
          ask({ ...common, limit: count }),
        )
        const last = entries.at(-1)
        if (entries.length < limit || last === undefined) return { entries, next: undefined }
        // The next page begins with the moment that this one ends in: unless it holds nothing else.
        const isStuck = last.timeNs === from
        return { entries, next: String(isStuck ? from + 1n : last.timeNs), hasGap: isStuck }
      },
      last: async (count, { fromNs, toNs, signal }) => {
        const common = { fromNs, toNs, direction: 'backward', signal } as const
        const most = Math.min(count, LAST_MAX)
        return (await smallerPage(most, (limit) => ask({ ...common, limit }))).found
      },
    }
  }

  async #ask(
    query: string,
    { fromNs, toNs, limit, direction, signal }: Ask,
  ): Promise<TimedEntry[]> {
    const { caPem, certificatePem, keyPem, token } = readBackendFiles(this.#row)
    const { tenant } = this.#row
    const url = new URL(
      `${this.#row.url.pathname.replace(/\/$/, '')}/loki/api/v1/query_range`,
      this.#row.url,
    )
    url.search = new URLSearchParams({
      ...{ query, direction, limit: String(limit) },
      ...{ start: String(fromNs), end: String(toNs) },
    }).toString()
    const answer = await askBackend({
      ...{ url, method: 'GET', caPem, certificatePem, keyPem, signal, bytesMax: BYTES_MAX },
      headers: {
        accept: 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(tenant === undefined ? {} : { 'x-scope-orgid': tenant }),
      },
    })
    const streams = listIn(jsonAnswer(answer), 'data', 'result')
    const entries = streams.flatMap((stream) => entriesOf(stream))
    return entries.sort((a, b) => (a.timeNs < b.timeNs ? -1 : a.timeNs > b.timeNs ? 1 : 0))
  }
}

interface Ask {
  readonly fromNs: bigint
  readonly toNs: bigint
  readonly limit: number
  readonly direction: 'forward' | 'backward'
  readonly signal: AbortSignal
}

function entriesOf(value: unknown): TimedEntry[] {
  const { stream, values } = (value ?? {}) as Record<string, unknown>
  const of = JSON.stringify(stream ?? {})
  return listIn(values).flatMap((one): TimedEntry[] => {
    const [time, text] = Array.isArray(one) ? (one as unknown[]) : []
    if (typeof time !== 'string' || !/^\d{1,20}$/.test(time) || typeof text !== 'string') return []
    return [{ timeNs: BigInt(time), id: `${of}\0${text}`, text }]
  })
}
