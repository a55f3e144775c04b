import { chmodSync, closeSync, existsSync, openSync } from 'node:fs'
import { Kysely, Migrator, sql } from 'kysely'
import { PosternError, printable } from '../base/errors.ts'
import { migrationProvider } from './migrations.ts'
import type { EventRow, RevisionRow, Tables } from './schema.ts'
import { sqliteDialect } from './sqlite.ts'

/** The store's database, or a transaction of it. */
export type Database = Kysely<Tables>

const OWNER_ONLY = 0o600
/** What of a text is written down: some of them are strangers'. */
const NAME_CHARS_MAX = 255
const ADDRESS_CHARS_MAX = 63
const DETAIL_CHARS_MAX = 1000

/** What the gateway remembers: tokens, certificates, and what was done. */
export class Records {
  readonly database: Database

  private constructor(database: Database) {
    this.database = database
  }

  /** Opens the store, and makes or updates its tables. `onQuery` hears every statement. @throws RECORDS_UNUSABLE */
  static async open(path: string, onQuery?: (sql: string) => void): Promise<Records> {
    let database: Database | undefined
    try {
      if (path !== ':memory:') {
        // Made by us, so that it never stands there for others to read.
        closeSync(openSync(path, 'a', OWNER_ONLY))
        chmodSync(path, OWNER_ONLY)
      }
      database = new Kysely<Tables>({
        dialect: sqliteDialect(path),
        log: ({ query }) => onQuery?.(query.sql),
      })
      const { error } = await new Migrator({
        db: database,
        provider: migrationProvider,
      }).migrateToLatest()
      if (error !== undefined)
        throw error instanceof Error ? error : new Error('a migration failed')
      return new Records(database)
    } catch (error) {
      await database?.destroy()
      if (error instanceof PosternError) throw error
      const text = `${path}: ${(error as Error).message}`
      throw new PosternError('RECORDS_UNUSABLE', text, { path }, { cause: error })
    }
  }

  /** Writes down what was done or refused: by itself, or as part of what is done `within`. */
  async note(event: NewEvent, within?: Database): Promise<void> {
    if (within === undefined) {
      await this.database.transaction().execute((own) => this.note(event, own))
      return
    }
    const { at, kind, actor, identity = null, serial = null, address = null, detail = null } = event
    await within
      .insertInto('events')
      .values({
        at,
        kind,
        actor: cut(actor, NAME_CHARS_MAX),
        identity: cut(identity, NAME_CHARS_MAX),
        serial,
        address: cut(address, ADDRESS_CHARS_MAX),
        detail: cut(detail, DETAIL_CHARS_MAX),
      })
      .execute()
  }

  /** How often what `name` stands for has changed. */
  async revision(name: RevisionRow['name'], within: Database = this.database): Promise<number> {
    const row = await within
      .selectFrom('revisions')
      .select('number')
      .where('name', '=', name)
      .executeTakeFirst()
    return row?.number ?? 0
  }

  /** Says to every gateway on this store that it has changed. */
  async bump(name: RevisionRow['name'], within: Database): Promise<void> {
    const { numUpdatedRows } = await within
      .updateTable('revisions')
      .set((expression) => ({ number: expression('number', '+', 1) }))
      .where('name', '=', name)
      .executeTakeFirst()
    if (numUpdatedRows === 0n)
      await within.insertInto('revisions').values({ name, number: 1 }).execute()
  }

  /** Which trust bundle an agent holds; written only when that is news. */
  async acknowledge({ cluster, agent, version, nowMs }: Acknowledgement): Promise<void> {
    const known = await this.database
      .selectFrom('agents')
      .select('bundle_version')
      .where('cluster', '=', cluster)
      .where('agent', '=', agent)
      .executeTakeFirst()
    if (known?.bundle_version === version) return
    const held = { bundle_version: version, seen_at: nowMs }
    await this.database.transaction().execute(async (within) => {
      await within
        .insertInto('agents')
        .values({ cluster, agent, ...held })
        .onConflict((conflict) => conflict.columns(['cluster', 'agent']).doUpdateSet(held))
        .execute()
    })
  }

  /**
   * Writes a whole and consistent copy, while others go on writing. @throws STATE_EXISTS, RECORDS_UNUSABLE
   */
  async backup(path: string): Promise<void> {
    if (existsSync(path))
      throw new PosternError('STATE_EXISTS', `${path} is there; nothing was changed`, { path })
    // Made by us, so that it never stands there for others to read: SQLite fills an empty file.
    closeSync(openSync(path, 'wx', OWNER_ONLY))
    await sql`vacuum into ${path}`.execute(this.database)
  }

  async close(): Promise<void> {
    await this.database.destroy()
  }
}

function cut<T extends string | null>(text: T, charsMax: number): T {
  return (text === null ? null : printable(text, charsMax)) as T
}

/** The version of the trust bundle that an agent says it holds. */
export interface Acknowledgement {
  readonly cluster: string
  readonly agent: string
  /** Of the trust bundle. */
  readonly version: number
  readonly nowMs: number
}

type Optional = 'identity' | 'serial' | 'address' | 'detail'
/** An event before it has a number. */
export type NewEvent = Omit<EventRow, 'id' | Optional> & Partial<Pick<EventRow, Optional>>
