import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import {
  CompiledQuery,
  SqliteDialect,
  SqliteDriver,
  type DatabaseConnection,
  type Driver,
  type SqliteDatabase,
} from 'kysely'
import { systemClock } from '../../base/system-clock.ts'

/** How long a transaction waits for another process, in ms. */
const WAIT_MS_MAX = 5000
const WAIT_MS = 5
const BUSY_MS = 50

/** node:sqlite for kysely, in a file or `:memory:`. */
export function sqliteDialect(path: string): SqliteDialect {
  return new ImmediateDialect({ database: () => Promise.resolve(openSqlite(path)) })
}

type Config = ConstructorParameters<typeof SqliteDriver>[0]

class ImmediateDialect extends SqliteDialect {
  readonly #config: Config

  constructor(config: Config) {
    super(config)
    this.#config = config
  }

  override createDriver(): Driver {
    return new ImmediateDriver(this.#config)
  }
}

/**
 * Begins a transaction by taking the lock, so that what it has read cannot change before it writes. It
 * waits for another writer without holding up this process.
 */
class ImmediateDriver extends SqliteDriver {
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    const endMs = systemClock.nowMs() + WAIT_MS_MAX
    for (;;) {
      try {
        await connection.executeQuery(CompiledQuery.raw('begin immediate'))
        return
      } catch (error) {
        if (!isBusy(error) || systemClock.nowMs() > endMs) throw error
        await new Promise<void>((resolve) => systemClock.startTimer(WAIT_MS, resolve))
      }
    }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && error.message.includes('database is locked')
}

function openSqlite(path: string): SqliteDatabase {
  const database = new DatabaseSync(path, { timeout: WAIT_MS_MAX })
  // A reader does not wait for a writer, and what was answered for survives a power cut.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
  // From here on transactions wait, without holding up this process.
  database.exec(`PRAGMA busy_timeout = ${String(BUSY_MS)}`)
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
