import type { SQLInputValue, StatementSync } from 'node:sqlite'

/** Asks for one statement to be run, or for the next rows of one that was. */
export type WorkerRequest =
  | { readonly id: number; readonly sql: string; readonly parameters: readonly SQLInputValue[] }
  | { readonly id: number; readonly isNext: true }
  | { readonly id: number; readonly isEnd: true }

/** The answer of the store's thread to one request. */
export type WorkerAnswer =
  | { readonly id: number; readonly rows: readonly unknown[]; readonly hasMore: boolean }
  | { readonly id: number; readonly changes: string; readonly lastId: string }
  | { readonly id: number; readonly message: string; readonly code: number }

/**
 * Serves one SQLite file in a thread of its own, so that no query holds up the event loop. Its text is what the
 * thread runs, so that it needs no file beside the program: it may use nothing but its parameters.
 * Rows leave in batches, the next when it is asked for: taking a message in costs the receiver time.
 */
export function serveSqlite(
  { parentPort, workerData }: typeof import('node:worker_threads'),
  { DatabaseSync }: typeof import('node:sqlite'),
): void {
  const BATCH = 256
  const STATEMENTS_MAX = 256
  const { path, waitMs } = workerData as { path: string; waitMs: number }
  const database = new DatabaseSync(path, { timeout: waitMs })
  // A reader does not wait for a writer, and what was answered for survives a power cut.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
  const statements = new Map<string, StatementSync>()
  const running = new Map<number, Iterator<unknown>>()

  const prepared = (sql: string): StatementSync => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    if (statements.size >= STATEMENTS_MAX) statements.clear()
    const statement = database.prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  const batch = (id: number, rows: Iterator<unknown>): WorkerAnswer => {
    const taken: unknown[] = []
    while (taken.length < BATCH) {
      const next = rows.next()
      if (next.done === true) {
        running.delete(id)
        return { id, rows: taken, hasMore: false }
      }
      taken.push(next.value)
    }
    running.set(id, rows)
    return { id, rows: taken, hasMore: true }
  }
  const answer = (request: WorkerRequest): WorkerAnswer | undefined => {
    const { id } = request
    if ('isEnd' in request) {
      database.close()
      parentPort?.close()
      return { id, rows: [], hasMore: false }
    }
    if ('isNext' in request) return batch(id, running.get(id) ?? [].values())
    const statement = prepared(request.sql)
    if (statement.columns().length > 0)
      return batch(id, statement.iterate(...request.parameters) as Iterator<unknown>)
    const { changes, lastInsertRowid } = statement.run(...request.parameters)
    return { id, changes: String(changes), lastId: String(lastInsertRowid) }
  }
  parentPort?.on('message', (request: WorkerRequest) => {
    try {
      parentPort.postMessage(answer(request))
    } catch (error) {
      const { message, errcode = 0 } = error as Error & { errcode?: number }
      parentPort.postMessage({ id: request.id, message, code: errcode })
    }
  })
}
