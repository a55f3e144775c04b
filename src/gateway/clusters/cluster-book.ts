import { fromJsonString, toJsonString, create } from '@bufbuild/protobuf'
import type { Clock } from '../../base/clock.ts'
import { printable, type ErrorCode } from '../../base/errors.ts'
import {
  LastReportSchema,
  type AwayAgent,
  type LastReport,
} from '../../gen/postern/v1/gateway_pb.js'
import type { Database } from '../../store/records.ts'
import type { ClusterAgentRow } from '../../store/schema.ts'
import type { AgentTunnel } from './registry.ts'

const SERVICES_MAX = 32
const TEXT_MAX = 300
const ADDRESS_MAX = 63
/** What agents say is written down at this pace; that they come and go, at once. */
const REPORT_MS = 60_000
/** Rows that go in one transaction, so that nobody waits for long behind it. */
const BATCH = 200
const AWAY_MAX = 1000

/** An agent that is away, and its cluster. */
export type Away = { readonly cluster: string } & Omit<AwayAgent, '$typeName' | '$unknown'>

/** The record of the agents of all clusters, in the store: who they are, what they last said, and why they went. */
export class ClusterBook {
  readonly #database: Database
  readonly #gateway: string
  readonly #clock: Clock
  /** By cluster and agent: what is to be written. */
  readonly #due = new Map<string, ClusterAgentRow>()
  /** When the report of each connected agent was last written, by our clock. */
  readonly #writtenAtMs = new Map<string, number>()
  #hasBegun = false

  constructor(database: Database, gateway: string, clock: Clock) {
    this.#database = database
    this.#gateway = gateway
    this.#clock = clock
  }

  /** An agent has registered. */
  arrived(tunnel: AgentTunnel): void {
    this.#note(tunnel)
  }

  /** An agent has said how it is. */
  told(tunnel: AgentTunnel): void {
    const last = this.#writtenAtMs.get(keyOf(tunnel)) ?? -Infinity
    if (this.#clock.nowMs() - last >= REPORT_MS) this.#note(tunnel)
  }

  /** The last tunnel of an agent has ended. */
  left(tunnel: AgentTunnel, code: ErrorCode, text: string): void {
    this.#note(tunnel, { code, text })
    this.#writtenAtMs.delete(keyOf(tunnel))
  }

  #note(tunnel: AgentTunnel, end?: { readonly code: ErrorCode; readonly text: string }): void {
    const { cluster, agent, hello, connection } = tunnel
    const nowMs = Math.round(this.#clock.wallMs())
    const key = keyOf(tunnel)
    this.#writtenAtMs.set(key, this.#clock.nowMs())
    this.#due.set(key, {
      ...{ cluster, agent, gateway: this.#gateway, agent_version: hello.agentVersion },
      address: printable(connection.facts.address, ADDRESS_MAX),
      ...{ first_at: nowMs, seen_at: nowMs, left_at: end === undefined ? null : nowMs },
      left_code: end?.code ?? null,
      left_text: end === undefined ? null : printable(end.text, TEXT_MAX),
      report: toJsonString(LastReportSchema, lastReport(tunnel)),
    })
  }

  /** Writes what is due: one batch. What an earlier run of this gateway left open is ended first. */
  async write(): Promise<void> {
    if (!this.#hasBegun) await this.#endOld()
    this.#hasBegun = true
    const rows = [...this.#due].slice(0, BATCH)
    if (rows.length === 0) return
    await this.#database.transaction().execute(async (within) => {
      for (const [, row] of rows) {
        await within
          .insertInto('cluster_agents')
          .values(row)
          .onConflict((conflict) =>
            conflict.columns(['cluster', 'agent', 'gateway']).doUpdateSet(changing(row)),
          )
          .execute()
      }
    })
    // What came meanwhile is another object, and stays due.
    for (const [key, row] of rows) if (this.#due.get(key) === row) this.#due.delete(key)
  }

  /** A gateway that was killed wrote no ends. */
  async #endOld(): Promise<void> {
    const ended = { left_code: 'CONNECTION_LOST', left_text: 'the gateway was started anew' }
    await this.#database.transaction().execute(async (within) => {
      await within
        .updateTable('cluster_agents')
        .set((row) => ({ left_at: row.ref('seen_at'), ...ended }))
        .where('gateway', '=', this.#gateway)
        .where('left_at', 'is', null)
        .execute()
    })
  }

  /** Agents that are connected to no gateway of this store, the last seen first. `cluster`: of this one alone. */
  async away(
    cluster?: string,
  ): Promise<{ readonly agents: readonly Away[]; readonly leftOut: number }> {
    let query = this.#database
      .selectFrom('cluster_agents')
      .selectAll()
      .where('left_at', 'is not', null)
    if (cluster !== undefined) query = query.where('cluster', '=', cluster)
    const rows = await query.orderBy('left_at', 'desc').limit(AWAY_MAX).execute()
    const agents = new Map<string, Away>()
    for (const row of rows) if (!agents.has(keyOf(row))) agents.set(keyOf(row), awayOf(row))
    if (rows.length < AWAY_MAX) return { agents: [...agents.values()], leftOut: 0 }
    const all = await this.#database
      .selectFrom('cluster_agents')
      .select((row) => row.fn.countAll<number>().as('count'))
      .where('left_at', 'is not', null)
      .executeTakeFirstOrThrow()
    return { agents: [...agents.values()], leftOut: Math.max(0, all.count - AWAY_MAX) }
  }
}

/** All but what names the row, and when it was first seen. */
function changing(row: ClusterAgentRow): Partial<ClusterAgentRow> {
  const { agent_version, address, seen_at, left_at, left_code, left_text, report } = row
  return { agent_version, address, seen_at, left_at, left_code, left_text, report }
}

function keyOf({ cluster, agent }: { readonly cluster: string; readonly agent: string }): string {
  return `${cluster}/${agent}`
}

function lastReport({ hello, report }: AgentTunnel): LastReport {
  const services = hello.services.slice(0, SERVICES_MAX).map((one) => ({ ...one }))
  if (report === undefined) return create(LastReportSchema, { services })
  const { capacity, posture, isLockedDown, lockdownReason } = report
  return create(LastReportSchema, {
    ...{ services, health: report.services.slice(0, SERVICES_MAX), isLockedDown, lockdownReason },
    ...(capacity === undefined ? {} : { capacity }),
    ...(posture === undefined ? {} : { posture }),
    heartbeatAtMs: BigInt(Math.round(report.atMs)),
  })
}

function awayOf(row: ClusterAgentRow): Away {
  return {
    ...{ cluster: row.cluster, agent: row.agent, agentVersion: row.agent_version },
    ...{ address: row.address, gateway: row.gateway },
    firstSeenAtMs: BigInt(row.first_at),
    leftAtMs: BigInt(row.left_at ?? row.seen_at),
    ...{ code: row.left_code ?? '', text: row.left_text ?? '' },
    last: fromJsonString(LastReportSchema, row.report, { ignoreUnknownFields: true }),
  }
}
