import type { Clock } from '../../base/clock.ts'
import { awsCredentials } from '../aws-credentials.ts'
import { AwsJson } from '../aws-json.ts'
import { LabelValues } from '../log-labels.ts'
import type { CloudwatchLogsRow } from '../logs-row.ts'
import { jsonAnswer, listIn } from './json-answer.ts'
import type { TimedAsk, TimedBackend, TimedPage, TimedPages } from './timed-log.ts'
import type { TimedEntry } from './timed-place.ts'

const PAGE = 10_000
const NS_PER_MS = 1_000_000n
const BYTES_MAX = 4 * 1024 * 1024

/** Streams of Amazon CloudWatch Logs, by GetLogEvents. */
export class Cloudwatch implements TimedBackend {
  readonly #row: CloudwatchLogsRow
  readonly #api: AwsJson

  private constructor(row: CloudwatchLogsRow, api: AwsJson) {
    this.#row = row
    this.#api = api
  }

  static async open(row: CloudwatchLogsRow, clock: Clock): Promise<Cloudwatch> {
    const { region, endpoint, caFile } = row
    const where = { region, endpoint, caFile, bytesMax: BYTES_MAX }
    const service = { service: 'logs', target: 'Logs_20140328', ...where }
    return new Cloudwatch(row, new AwsJson(service, clock, await awsCredentials(row)))
  }

  open(labels: Readonly<Record<string, string>>): TimedPages {
    const values = new LabelValues(labels)
    const logGroupName = values.fill(this.#row.group)
    const logStreamName = values.fill(this.#row.stream)
    values.finish()
    const ask = (more: object, signal: AbortSignal): Promise<Events> =>
      this.#ask({ logGroupName, logStreamName, ...more }, signal)
    return {
      doOverlap: false,
      log: `${logGroupName}\0${logStreamName}`,
      page: async ({ fromNs, toNs, token, signal }: TimedAsk): Promise<TimedPage> => {
        const more = token === undefined ? {} : { nextToken: token }
        const { entries, next } = await ask(
          { ...spanOf(fromNs, toNs), startFromHead: true, ...more },
          signal,
        )
        // The same token again: that was the last page.
        return { entries, next: next === token ? undefined : next }
      },
      last: async (count, { fromNs, toNs, signal }) => {
        const limit = Math.min(count, PAGE)
        return (await ask({ ...spanOf(fromNs, toNs), startFromHead: false, limit }, signal)).entries
      },
    }
  }

  async #ask(request: object, signal: AbortSignal): Promise<Events> {
    const body = Buffer.from(JSON.stringify(request))
    const answer = await this.#api.ask('GetLogEvents', body, signal)
    const { events, nextForwardToken: next } = jsonAnswer(answer)
    const entries = listIn(events).flatMap((one): TimedEntry[] => {
      const { timestamp, message, ingestionTime } = (one ?? {}) as Record<string, unknown>
      if (typeof timestamp !== 'number' || typeof message !== 'string') return []
      const timeNs = BigInt(Math.floor(timestamp)) * NS_PER_MS
      return [{ timeNs, id: `${String(ingestionTime)}\0${message}`, text: message }]
    })
    return { entries, next: typeof next === 'string' ? next : undefined }
  }
}

interface Events {
  readonly entries: TimedEntry[]
  readonly next: string | undefined
}

/** Its times are whole milliseconds, and both ends are told. */
function spanOf(fromNs: bigint, toNs: bigint): object {
  return { startTime: Number(fromNs / NS_PER_MS), endTime: Number((toNs - 1n) / NS_PER_MS) }
}
