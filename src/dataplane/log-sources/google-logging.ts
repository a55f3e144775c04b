import { readPublicFile } from '../../identity/key-files.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import { GoogleCredentials } from '../google-credentials.ts'
import { fillAll } from '../log-labels.ts'
import type { GoogleLogsRow } from '../logs-row.ts'
import { jsonAnswer, listIn } from './json-answer.ts'
import { smallerPage } from './smaller-page.ts'
import {
  readNanos,
  writeNanos,
  type TimedAsk,
  type TimedBackend,
  type TimedPage,
  type TimedPages,
} from './timed-log.ts'
import type { TimedEntry } from './timed-place.ts'

const SCOPES = ['https://www.googleapis.com/auth/logging.read']
const PAGE = 1000
const BYTES_MAX = 16 * 1024 * 1024

/** Google Cloud Logging, by entries.list. */
export class GoogleLogging implements TimedBackend {
  readonly #row: GoogleLogsRow
  readonly #auth: GoogleCredentials

  private constructor(row: GoogleLogsRow, auth: GoogleCredentials) {
    this.#row = row
    this.#auth = auth
  }

  static async open(row: GoogleLogsRow): Promise<GoogleLogging> {
    return new GoogleLogging(row, await GoogleCredentials.open(row.credentialsFile, SCOPES))
  }

  open(labels: Readonly<Record<string, string>>): TimedPages {
    const match = fillAll(this.#row.match, labels)
    const log = [...match].map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(' AND ')
    return {
      doOverlap: false,
      log,
      page: async ({ token, ...span }: TimedAsk): Promise<TimedPage> =>
        (
          await smallerPage(PAGE, (pageSize) =>
            this.#ask(log, span, {
              ...{ orderBy: 'timestamp asc', pageSize },
              ...(token === undefined ? {} : { pageToken: token }),
            }),
          )
        ).found,
      last: async (count, span) => {
        const { found } = await smallerPage(Math.min(count, PAGE), (pageSize) =>
          this.#ask(log, span, { orderBy: 'timestamp desc', pageSize }),
        )
        return found.entries.toReversed()
      },
    }
  }

  async #ask(
    log: string,
    { fromNs, toNs, signal }: Omit<TimedAsk, 'token'>,
    more: object,
  ): Promise<TimedPage> {
    const { endpoint, project, caFile } = this.#row
    const span = `timestamp>="${writeNanos(fromNs)}" AND timestamp<"${writeNanos(toNs)}"`
    const filter = `${log} AND ${span}`
    const answer = await askBackend({
      ...{ method: 'POST', url: new URL('/v2/entries:list', endpoint), signal },
      ...{ bytesMax: BYTES_MAX, caPem: caFile === undefined ? undefined : readPublicFile(caFile) },
      headers: {
        'content-type': 'application/json',
        authorization: await this.#auth.bearer(endpoint, signal),
      },
      body: JSON.stringify({ resourceNames: [`projects/${project}`], filter, ...more }),
    })
    const { entries, nextPageToken: next } = jsonAnswer(answer)
    return {
      entries: listIn(entries).flatMap(entryOf),
      next: typeof next === 'string' && next !== '' ? next : undefined,
    }
  }
}

function entryOf(value: unknown): TimedEntry[] {
  const { timestamp, insertId, textPayload, jsonPayload } = (value ?? {}) as Record<string, unknown>
  const timeNs = typeof timestamp === 'string' ? readNanos(timestamp) : undefined
  if (timeNs === undefined) return []
  // What an audit log has as its payload is none of a task's.
  const text = typeof textPayload === 'string' ? textPayload : jsonText(jsonPayload)
  return text === undefined ? [] : [{ timeNs, id: String(insertId), text }]
}

function jsonText(payload: unknown): string | undefined {
  if (typeof payload !== 'object' || payload === null) return undefined
  return JSON.stringify(payload)
}
