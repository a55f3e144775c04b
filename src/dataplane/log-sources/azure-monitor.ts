import type { TokenCredential } from '@azure/identity'
import { PosternError } from '../../base/errors.ts'
import { readPublicFile } from '../../identity/key-files.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import { azureIdentity, azureToken } from '../azure-credentials.ts'
import { fillAll } from '../log-labels.ts'
import type { AzureLogsRow } from '../logs-row.ts'
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

const SCOPE = 'https://api.loganalytics.io/.default'
const PAGE = 1000
const LAST_MAX = 10_000
const BYTES_MAX = 16 * 1024 * 1024

/** A table of a workspace of Azure Monitor, by its query API. */
export class AzureMonitor implements TimedBackend {
  readonly #row: AzureLogsRow
  readonly #credential: TokenCredential

  private constructor(row: AzureLogsRow, credential: TokenCredential) {
    this.#row = row
    this.#credential = credential
  }

  static async open(row: AzureLogsRow): Promise<AzureMonitor> {
    return new AzureMonitor(row, await azureIdentity())
  }

  open(labels: Readonly<Record<string, string>>): TimedPages {
    const match = fillAll(this.#row.match, labels)
    const log = [...match]
      .map(([name, value]) => `${name} == ${JSON.stringify(value)}`)
      .join(' and ')
    return {
      doOverlap: true,
      log,
      page: async ({ fromNs, toNs, token, signal }: TimedAsk): Promise<TimedPage> => {
        const from = token === undefined ? fromNs : BigInt(token)
        const span = { fromNs: from, toNs, signal }
        const { found: entries, limit } = await smallerPage(PAGE, (count) =>
          this.#ask(log, span, count, 'asc'),
        )
        const last = entries.at(-1)
        if (entries.length < limit || last === undefined) return { entries, next: undefined }
        const isStuck = last.timeNs === from
        // Its clock ticks in 100 ns.
        return { entries, next: String(isStuck ? from + 100n : last.timeNs), hasGap: isStuck }
      },
      last: async (count, span) =>
        (
          await smallerPage(Math.min(count, LAST_MAX), (limit) =>
            this.#ask(log, span, limit, 'desc'),
          )
        ).found.toReversed(),
    }
  }

  async #ask(
    log: string,
    { fromNs, toNs, signal }: Omit<TimedAsk, 'token'>,
    count: number,
    order: 'asc' | 'desc',
  ): Promise<TimedEntry[]> {
    const { url, workspace, table, timeColumn, textColumn, caFile } = this.#row
    const query = [
      table,
      ...(log === '' ? [] : [`where ${log}`]),
      `where ${timeColumn} >= datetime(${writeNanos(fromNs)}) and ${timeColumn} < datetime(${writeNanos(toNs)})`,
      `top ${String(count)} by ${timeColumn} ${order}`,
      `project ${timeColumn}, ${textColumn}`,
    ].join(' | ')
    const answer = jsonAnswer(
      await askBackend({
        ...{ method: 'POST', url: new URL(`/v1/workspaces/${workspace}/query`, url), signal },
        ...{
          bytesMax: BYTES_MAX,
          caPem: caFile === undefined ? undefined : readPublicFile(caFile),
        },
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${await azureToken(this.#credential, SCOPE, signal)}`,
        },
        body: JSON.stringify({ query }),
      }),
    )
    // A part of an answer would be taken for all of it.
    if (answer.error !== undefined) throw new PosternError('BACKEND_REFUSED', 'a partial answer')
    const [first] = listIn(answer, 'tables')
    return listIn(first, 'rows').flatMap(entryOf)
  }
}

function entryOf(row: unknown): TimedEntry[] {
  const [time, value] = Array.isArray(row) ? (row as unknown[]) : []
  const timeNs = typeof time === 'string' ? readNanos(time) : undefined
  if (timeNs === undefined || value === null || value === undefined) return []
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return [{ timeNs, id: text, text }]
}
