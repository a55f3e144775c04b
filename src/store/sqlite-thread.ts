import type { SQLInputValue } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { serveSqlite, type WorkerAnswer, type WorkerRequest } from './sqlite-worker.ts'
import { storeError } from './store-error.ts'

/** How long a statement waits for another process, in ms. */
const WAIT_MS_MAX = 5000

/** The rows of a query, or the count of what a statement changed. */
export interface SqliteResult {
  readonly rows: unknown[]
  readonly changes: bigint
  readonly lastId: bigint
}

interface Waiting {
  resolve(answer: WorkerAnswer): void
  reject(error: Error): void
}

/** One SQLite file, served by a thread. It holds the process only while somebody waits for an answer. */
export class SqliteThread {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #serial = 0
  #end: Error | undefined

  constructor(path: string) {
    const source = `(${serveSqlite.toString()})(require('node:worker_threads'), require('node:sqlite'))`
    const workerData = { path, waitMs: WAIT_MS_MAX }
    this.#worker = new Worker(source, { eval: true, workerData, name: 'store', execArgv: [] })
    this.#worker.unref()
    this.#worker.on('message', (answer: WorkerAnswer) => {
      this.#settle(answer.id, (waiting) => {
        if ('message' in answer) waiting.reject(storeError(path, answer.message, answer.code))
        else waiting.resolve(answer)
      })
    })
    this.#worker.on('error', (error) => {
      const { message, errcode = 0 } = error as Error & { errcode?: number }
      this.#fail(storeError(path, message, errcode))
    })
    this.#worker.on('exit', () => {
      this.#fail(storeError(path, 'its thread has ended', 0))
    })
  }

  /** Runs one statement. @throws RECORDS_UNUSABLE, or what SQLite says of the statement */
  async run(sql: string, parameters: readonly unknown[]): Promise<SqliteResult> {
    const id = ++this.#serial
    const first = await this.#ask({ id, sql, parameters: parameters as SQLInputValue[] })
    if ('changes' in first)
      return { rows: [], changes: BigInt(first.changes), lastId: BigInt(first.lastId) }
    const rows: unknown[] = []
    let answer: WorkerAnswer | undefined = first
    while (answer !== undefined && 'rows' in answer) {
      rows.push(...answer.rows)
      answer = answer.hasMore ? await this.#ask({ id, isNext: true }) : undefined
    }
    return { rows, changes: 0n, lastId: 0n }
  }

  async close(): Promise<void> {
    if (this.#end !== undefined) return
    await this.#ask({ id: ++this.#serial, isEnd: true }).catch(() => undefined)
    await this.#worker.terminate()
  }

  #ask(request: WorkerRequest): Promise<WorkerAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) {
        reject(this.#end)
        return
      }
      if (this.#waiting.size === 0) this.#worker.ref()
      this.#waiting.set(request.id, { resolve, reject })
      this.#worker.postMessage(request)
    })
  }

  #settle(id: number, act: (waiting: Waiting) => void): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    if (this.#waiting.size === 0) this.#worker.unref()
    act(waiting)
  }

  #fail(error: Error): void {
    this.#end ??= error
    for (const id of [...this.#waiting.keys()])
      this.#settle(id, (waiting) => {
        waiting.reject(this.#end ?? error)
      })
  }
}
