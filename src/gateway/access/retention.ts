import type { Records } from '../../store/records.ts'

/** Rows that go in one transaction, so that nobody waits for long behind it. */
const BATCH = 1000
const HOUR_MS = 3_600_000

/** How long events and certificates are kept, and how many events. */
export interface Retention {
  /** How long events are kept, in ms, and how many of them at most. */
  readonly eventsKeepMs: number
  readonly eventsMax: number
  /** How long a certificate is remembered after its end, in ms. */
  readonly certificatesKeepMs: number
  /** How long an agent is remembered after it went, in ms. */
  readonly clustersKeepMs: number
}

/** Lets go of what is older than it need be, once an hour, so that the store does not grow for ever. */
export class Pruner {
  readonly #records: Records
  readonly #retention: Retention
  #nextAtMs = 0

  constructor(records: Records, retention: Retention) {
    this.#records = records
    this.#retention = retention
  }

  /** Does one batch of each where some are due. Resolves to how many rows went. */
  async prune(nowMs: number): Promise<number> {
    if (nowMs < this.#nextAtMs) return 0
    const counts = [
      await this.#certificates(nowMs),
      await this.#events(nowMs),
      await this.#clusters(nowMs),
    ]
    if (counts.every((count) => count < BATCH)) this.#nextAtMs = nowMs + HOUR_MS
    return counts.reduce((sum, count) => sum + count, 0)
  }

  async #certificates(nowMs: number): Promise<number> {
    const beforeMs = nowMs - this.#retention.certificatesKeepMs
    return await this.#records.database.transaction().execute(async (within) => {
      const rows = await within
        .selectFrom('certificates')
        .select(['issuer', 'serial'])
        .where('not_after', '<', beforeMs)
        .limit(BATCH)
        .execute()
      for (const { issuer, serial } of rows)
        await within
          .deleteFrom('certificates')
          .where('issuer', '=', issuer)
          .where('serial', '=', serial)
          .execute()
      return rows.length
    })
  }

  async #clusters(nowMs: number): Promise<number> {
    const beforeMs = nowMs - this.#retention.clustersKeepMs
    return await this.#records.database.transaction().execute(async (within) => {
      const rows = await within
        .selectFrom('cluster_agents')
        .select(['cluster', 'agent', 'gateway'])
        .where('left_at', '<', beforeMs)
        .limit(BATCH)
        .execute()
      for (const { cluster, agent, gateway } of rows)
        await within
          .deleteFrom('cluster_agents')
          .where('cluster', '=', cluster)
          .where('agent', '=', agent)
          .where('gateway', '=', gateway)
          .execute()
      return rows.length
    })
  }

  async #events(nowMs: number): Promise<number> {
    const { eventsKeepMs, eventsMax } = this.#retention
    return await this.#records.database.transaction().execute(async (within) => {
      const newest = await within
        .selectFrom('events')
        .select('id')
        .orderBy('id', 'desc')
        .limit(1)
        .executeTakeFirst()
      const old = await within
        .selectFrom('events')
        .select('id')
        .where('at', '<', nowMs - eventsKeepMs)
        .orderBy('at')
        .limit(BATCH)
        .execute()
      const surplus = await within
        .selectFrom('events')
        .select('id')
        .where('id', '<=', (newest?.id ?? 0) - eventsMax)
        .orderBy('id')
        .limit(BATCH)
        .execute()
      const ids = [...new Set([...old, ...surplus].map(({ id }) => id))].slice(0, BATCH)
      if (ids.length > 0) await within.deleteFrom('events').where('id', 'in', ids).execute()
      return ids.length
    })
  }
}
