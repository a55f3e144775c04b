import { fork, type ChildProcess, type Serializable } from 'node:child_process'
import { fileURLToPath } from 'node:url'

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

/** A worker, as the main process sees it. */
export class WorkerProcess {
  readonly #child: ChildProcess
  readonly #waiting = new Map<
    number,
    { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }
  >()
  #serial = 0

  private constructor(role: string) {
    const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
    const execArgv =
      process.env.BENCH_PROFILE === undefined
        ? ['--expose-gc']
        : ['--expose-gc', '--cpu-prof', `--cpu-prof-dir=${process.env.BENCH_PROFILE}`]
    this.#child = fork(path('./worker.ts'), [path(`./roles/${role}.ts`)], { execArgv })
    this.#child.on('message', (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if (answer.error === undefined) waiting?.resolve(answer.result)
      else waiting?.reject(new Error(`${role}: ${answer.error}`))
    })
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`${role} ended with ${String(code)}`))
    })
  }

  static async start(role: string): Promise<WorkerProcess> {
    const worker = new WorkerProcess(role)
    await new Promise((resolve, reject) => worker.#waiting.set(0, { resolve, reject }))
    return worker
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async call<T>(name: string, args: Serializable = {}): Promise<T> {
    const id = ++this.#serial
    return (await new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, name, args })
    })) as T
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#waiting.clear()
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    if (process.env.BENCH_PROFILE === undefined) this.#child.kill('SIGKILL')
    else this.#child.kill('SIGINT')
    await ended
  }
}
