import {
  CompiledQuery,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type Kysely,
  type QueryResult,
} from 'kysely'
import { PosternError } from '../base/errors.ts'
import { SqliteThread } from './sqlite-thread.ts'

/** SQLite for kysely, in a file or `:memory:`, served by a thread. */
export function sqliteDialect(path: string): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new SqliteDriver(path),
    createIntrospector: (database: Kysely<unknown>) => new SqliteIntrospector(database),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

/**
 * One connection, used by one after another. A transaction begins by taking the lock, so that what it has read
 * cannot change before it writes.
 */
class SqliteDriver implements Driver {
  readonly #path: string
  #connection: SqliteConnection | undefined
  /** Resolves when the one who has the connection gives it back. */
  #isFree: Promise<unknown> = Promise.resolve()
  #giveBack: () => void = () => undefined

  constructor(path: string) {
    this.#path = path
  }

  init(): Promise<void> {
    this.#connection = new SqliteConnection(new SqliteThread(this.#path))
    return Promise.resolve()
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    const before = this.#isFree
    const { promise, resolve } = Promise.withResolvers<undefined>()
    this.#isFree = promise
    await before
    this.#giveBack = () => {
      resolve(undefined)
    }
    return this.#connection as SqliteConnection
  }

  releaseConnection(): Promise<void> {
    this.#giveBack()
    return Promise.resolve()
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'))
  }

  /** Some errors, such as a full disk, have undone everything already: they are what is to be told. */
  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      await connection.executeQuery(CompiledQuery.raw('rollback'))
    } catch (error) {
      if (!(error as Error).message.includes('no transaction is active')) throw error
    }
  }

  async destroy(): Promise<void> {
    await this.#connection?.thread.close()
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly thread: SqliteThread

  constructor(thread: SqliteThread) {
    this.thread = thread
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, changes, lastId } = await this.thread.run(sql, parameters)
    return { rows: rows as R[], numAffectedRows: changes, insertId: lastId }
  }

  streamQuery(): never {
    throw new PosternError('INTERNAL', 'rows are not streamed')
  }
}
