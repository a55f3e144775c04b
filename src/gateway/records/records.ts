import { chmodSync, closeSync, openSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { Kysely, Migrator, SqliteDialect, type SqliteDatabase } from 'kysely'
import { PosternError } from '../../base/errors.ts'
import { migrationProvider } from './migrations.ts'
import type { EventRow, Tables } from './schema.ts'

export type Database = Kysely<Tables>

const OWNER_ONLY = 0o600

/** What the gateway remembers: tokens, certificates, and what was done. */
export class Records {
  readonly database: Database

  private constructor(database: Database) {
    this.database = database
  }

  /** Opens the store, and makes or updates its tables. @throws RECORDS_UNUSABLE */
  static async open(path: string): Promise<Records> {
    let database: Database | undefined
    try {
      if (path !== ':memory:') {
        // Made by us, so that it never stands there for others to read.
        closeSync(openSync(path, 'a', OWNER_ONLY))
        chmodSync(path, OWNER_ONLY)
      }
      database = new Kysely<Tables>({
        dialect: new SqliteDialect({ database: () => Promise.resolve(openSqlite(path)) }),
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
      const text = `${path}: ${(error as Error).message}`
      throw new PosternError('RECORDS_UNUSABLE', text, { path }, { cause: error })
    }
  }

  /** Writes down what was done or refused. */
  async note(event: NewEvent, within: Database = this.database): Promise<void> {
    const { identity = null, serial = null, address = null, detail = null, ...rest } = event
    await within
      .insertInto('events')
      .values({ ...rest, identity, serial, address, detail })
      .execute()
  }

  async close(): Promise<void> {
    await this.database.destroy()
  }
}

type Optional = 'identity' | 'serial' | 'address' | 'detail'
export type NewEvent = Omit<EventRow, 'id' | Optional> & Partial<Pick<EventRow, Optional>>

function openSqlite(path: string): SqliteDatabase {
  const database = new DatabaseSync(path, { timeout: 5000 })
  // A reader does not wait for a writer, and what was answered for survives a power cut.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
  return {
    close: () => {
      database.close()
    },
    prepare: (sql) => {
      const statement = database.prepare(sql)
      const values = (parameters: readonly unknown[]): SQLInputValue[] =>
        parameters as SQLInputValue[]
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...values(parameters)),
        run: (parameters) => statement.run(...values(parameters)),
        iterate: (parameters) => statement.iterate(...values(parameters)),
      }
    },
  }
}
