import { fromJsonString } from '@bufbuild/protobuf'
import type { Transaction } from 'kysely'
import type { Clock } from '../../base/clock.ts'
import { RunEventSchema, type RunEvent } from '../../gen/postern/dataplane/v1/events_pb.js'
import type { Database } from '../../store/records.ts'
import type { Tables } from '../../store/schema.ts'
import type { RunRow } from './run-row.ts'

const PRUNE_BATCH = 500
/** Rows that go for one batch that comes: more than come, and no more than a moment's work. */
const FORGET_BATCH = 500
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

/** How many events are kept of one cluster, and how many bytes of them in protobuf's JSON: the oldest go first. */
export interface RunBounds {
  readonly countMax: number
  readonly bytesMax: number
}

/** Events of runs in the store: each once, in the order in which its agent told it, as many of a cluster as the settings say. */
export class RunBook {
  readonly #database: Database
  readonly #clock: Clock
  readonly #bounds: RunBounds
  #pruneAtMs = 0

  constructor(database: Database, clock: Clock, bounds: RunBounds) {
    this.#database = database
    this.#clock = clock
    this.#bounds = bounds
  }

  /** Keeps entries of an agent, each once; of one cluster, one call at a time. @throws RECORDS_UNUSABLE */
  async append(cluster: string, agent: string, rows: readonly RunRow[]): Promise<void> {
    if (rows.length === 0) return
    const receivedAtMs = Math.round(this.#clock.wallMs())
    await this.#database.transaction().execute(async (within) => {
      const fresh = await unknown(within, cluster, rows)
      if (fresh.length === 0) return
      const last = await within
        .selectFrom('run_events')
        .select(['place', 'upto'])
        .where('cluster', '=', cluster)
        .orderBy('place', 'desc')
        .limit(1)
        .executeTakeFirst()
      let { place, upto } = last ?? { place: 0, upto: 0 }
      const values = fresh.map(({ length, ...row }) => {
        upto += length
        return { cluster, agent, received_at: receivedAtMs, ...row, place: ++place, upto }
      })
      await within.insertInto('run_events').values(values).execute()
      const { countMax, bytesMax } = this.#bounds
      await forget(within, { cluster, column: 'place', to: place - countMax })
      await forget(within, { cluster, column: 'upto', to: upto - bytesMax })
    })
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

/** Those that are not kept yet, each once. */
async function unknown(
  within: Transaction<Tables>,
  cluster: string,
  rows: readonly RunRow[],
): Promise<RunRow[]> {
  const byName = new Map(rows.map((row) => [nameOf(row), row]))
  const known = await within
    .selectFrom('run_events')
    .select(['stream', 'number'])
    .where('cluster', '=', cluster)
    .where((row) => row.or(rows.map(({ stream, number }) => row.and({ stream, number }))))
    .execute()
  for (const row of known) byName.delete(nameOf(row))
  return [...byName.values()]
}

function nameOf({ stream, number }: Pick<RunRow, 'stream' | 'number'>): string {
  return `${stream}/${String(number)}`
}

interface Forgotten {
  readonly cluster: string
  readonly column: 'place' | 'upto'
  readonly to: number
}

/** Lets go of the oldest of a cluster, up to a value of one of the columns by which it is counted. */
async function forget(
  within: Transaction<Tables>,
  { cluster, column, to }: Forgotten,
): Promise<void> {
  if (to <= 0) return
  const oldest = within
    .selectFrom('run_events')
    .select('id')
    .where('cluster', '=', cluster)
    .where(column, '<=', to)
    .orderBy(column)
    .limit(FORGET_BATCH)
  await within.deleteFrom('run_events').where('id', 'in', oldest).execute()
}
