import { fromJsonString, toJsonString } from '@bufbuild/protobuf'
import type { Clock } from '../../base/clock.ts'
import { PosternError, printable } from '../../base/errors.ts'
import {
  EVENT_BYTES_MAX,
  eventFault,
  EVENT_TEXT_BYTES_MAX,
  runName,
} from '../../contract/run-event.ts'
import { RunEventSchema, type RunEvent } from '../../gen/postern/dataplane/v1/events_pb.js'
import type { Entry } from '../../gen/postern/v1/runs_pb.js'
import type { Database } from '../../store/records.ts'

const ENTRIES_MAX = 200
const STREAM = /^[0-9a-f]{1,32}$/
const PRUNE_BATCH = 500
const HOUR_MS = 3_600_000
/** Rows that are read at once, and bytes that one answer holds. */
const PAGE = 25
const ANSWER_BYTES_MAX = 2 * 1024 * 1024

/** An event that is kept. */
export interface KeptRun {
  readonly id: number
  readonly agent: string
  readonly receivedAtMs: number
  readonly event: RunEvent
}

/** What is asked of the events that are kept. */
export interface RunQuery {
  readonly cluster: string
  /** Of this run alone; undefined: of all. */
  readonly run: string | undefined
  /** What follows this id. */
  readonly after: number
  readonly limit: number
}

/** Events of runs in the store: each once, in the order in which its agent told it, as many of a cluster as the settings say. */
export class RunBook {
  readonly #database: Database
  readonly #clock: Clock
  readonly #perClusterMax: number
  #pruneAtMs = 0

  constructor(database: Database, clock: Clock, perClusterMax: number) {
    this.#database = database
    this.#clock = clock
    this.#perClusterMax = perClusterMax
  }

  /** Keeps entries of an agent, and returns how many of them are kept now. @throws EVENT_REFUSED, RECORDS_UNUSABLE */
  async append(cluster: string, agent: string, entries: readonly Entry[]): Promise<number> {
    if (entries.length > ENTRIES_MAX)
      throw new PosternError('EVENT_REFUSED', `at most ${String(ENTRIES_MAX)} entries at once`)
    const received = Math.round(this.#clock.wallMs())
    const rows = entries.map((entry) => ({
      cluster,
      agent,
      received_at: received,
      ...rowOf(entry),
    }))
    await this.#database.transaction().execute(async (within) => {
      const last = await within
        .selectFrom('run_events')
        .select('place')
        .where('cluster', '=', cluster)
        .orderBy('place', 'desc')
        .limit(1)
        .executeTakeFirst()
      let place = last?.place ?? 0
      for (const row of rows)
        await within
          .insertInto('run_events')
          .values({ ...row, place: ++place })
          .onConflict((conflict) => conflict.columns(['cluster', 'stream', 'number']).doNothing())
          .execute()
      await within
        .deleteFrom('run_events')
        .where('cluster', '=', cluster)
        .where('place', '<=', place - this.#perClusterMax)
        .execute()
    })
    return entries.length
  }

  /** Events behind an id, oldest first: fewer than the limit where they would be more than one answer holds. */
  async list({ cluster, run, after, limit }: RunQuery): Promise<readonly KeptRun[]> {
    const kept: KeptRun[] = []
    let [from, bytes] = [after, 0]
    while (kept.length < limit) {
      const page = await this.#page({ cluster, run, after: from, limit: PAGE })
      for (const { id, agent, received_at: receivedAtMs, event: text } of page) {
        bytes += text.length
        if (kept.length === limit || (kept.length > 0 && bytes > ANSWER_BYTES_MAX)) return kept
        const event = fromJsonString(RunEventSchema, text, { ignoreUnknownFields: true })
        kept.push({ id, agent, receivedAtMs, event })
        from = id
      }
      if (page.length < PAGE) return kept
    }
    return kept
  }

  async #page({ cluster, run, after, limit }: RunQuery) {
    const query = this.#database
      .selectFrom('run_events')
      .select(['id', 'agent', 'received_at', 'event'])
      .where('cluster', '=', cluster)
      .where('id', '>', after)
    const wanted = run === undefined ? query : query.where('run', '=', run)
    return await wanted.orderBy('id').limit(limit).execute()
  }

  /** The id of the newest event of all; 0: there is none. */
  async newest(): Promise<number> {
    const row = await this.#database
      .selectFrom('run_events')
      .select('id')
      .orderBy('id', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row?.id ?? 0
  }

  /** Lets go of what was taken before a moment, once an hour: one batch. Returns how many went. */
  async prune(beforeMs: number): Promise<number> {
    const nowMs = this.#clock.nowMs()
    if (nowMs < this.#pruneAtMs) return 0
    const old = await this.#database
      .selectFrom('run_events')
      .select('id')
      .where('received_at', '<', beforeMs)
      .orderBy('received_at')
      .limit(PRUNE_BATCH)
      .execute()
    const ids = old.map(({ id }) => id)
    if (ids.length < PRUNE_BATCH) this.#pruneAtMs = nowMs + HOUR_MS
    if (ids.length > 0)
      await this.#database.transaction().execute(async (within) => {
        await within.deleteFrom('run_events').where('id', 'in', ids).execute()
      })
    return ids.length
  }
}

/** Agents judge what they send; a hostile one does not. @throws EVENT_REFUSED */
function rowOf({ stream, number, event }: Entry) {
  const isCounted = number > 0n && number <= BigInt(Number.MAX_SAFE_INTEGER)
  if (event?.action === undefined || !STREAM.test(stream) || !isCounted)
    throw new PosternError('EVENT_REFUSED', 'an entry has no stream, number or event')
  const fault = eventFault(event)
  if (fault !== undefined) throw new PosternError('EVENT_REFUSED', `the event: ${fault}`)
  event.message = printable(event.message, EVENT_TEXT_BYTES_MAX)
  if (event.failure !== undefined)
    event.failure.text = printable(event.failure.text, EVENT_TEXT_BYTES_MAX)
  const text = toJsonString(RunEventSchema, event)
  if (text.length > 2 * EVENT_BYTES_MAX)
    throw new PosternError('EVENT_REFUSED', `an event has over ${String(EVENT_BYTES_MAX)} bytes`)
  return { stream, number: Number(number), run: runName(event.action), event: text }
}
