import { spawn, type ChildProcess } from 'node:child_process'
import { createWriteStream } from 'node:fs'

const STOP_MS = 15_000

/** A child whose output goes to a log file, and can be waited for. */
export class Child {
  readonly name: string
  readonly logFile: string
  readonly process: ChildProcess
  readonly ended: Promise<number>
  #text = ''
  #hasEnded = false
  readonly #waiting = new Set<() => void>()

  constructor(name: string, logFile: string, command: string, args: readonly string[]) {
    this.name = name
    this.logFile = logFile
    // A group of its own: Ctrl-C in a terminal is for us, who then stop it once and in order.
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    const log = createWriteStream(logFile)
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        log.write(chunk)
        this.#text += chunk.toString()
        for (const wake of this.#waiting) wake()
      })
    }
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code) => {
        this.#hasEnded = true
        for (const wake of this.#waiting) wake()
        resolve(code ?? -1)
      })
    })
  }

  /** Everything printed so far, on both streams. */
  get text(): string {
    return this.#text
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** The first line of output that contains `text`. Fails when the child ends or time runs out. */
  async waitFor(text: string, deadlineMs: number): Promise<string> {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        finish(() => {
          reject(
            new Error(
              `${this.name} did not say "${text}" within ${String(deadlineMs / 1000)} s; read ${this.logFile}`,
            ),
          )
        })
      }, deadlineMs)
      const finish = (act: () => void): void => {
        clearTimeout(timer)
        this.#waiting.delete(look)
        act()
      }
      const look = (): void => {
        const line = this.#text.split('\n').find((one) => one.includes(text))
        if (line !== undefined)
          finish(() => {
            resolve(line)
          })
        else if (this.#hasEnded)
          finish(() => {
            reject(new Error(`${this.name} ended; read ${this.logFile}`))
          })
      }
      this.#waiting.add(look)
      look()
    })
  }
}

/** Children that are stopped in the reverse order of their start. */
export class ChildProcesses {
  readonly #folder: string
  readonly #children: Child[] = []

  readonly #onExit = (): void => {
    this.killAll()
  }

  constructor(folder: string) {
    this.#folder = folder
    process.once('exit', this.#onExit)
  }

  start(name: string, command: string, args: readonly string[]): Child {
    const child = new Child(name, `${this.#folder}/${name}.log`, command, args)
    this.#children.push(child)
    return child
  }

  /** SIGTERM to each; fails if one does not end in time, or not with 0. Returns their names. */
  async stopAll(): Promise<string[]> {
    const names: string[] = []
    for (const child of this.#children.reverse()) {
      child.process.kill('SIGTERM')
      const timer = setTimeout(() => child.process.kill('SIGKILL'), STOP_MS)
      const code = await child.ended
      clearTimeout(timer)
      if (code !== 0)
        throw new Error(`${child.name} ended with ${String(code)}; read ${child.logFile}`)
      names.push(child.name)
    }
    this.#children.length = 0
    return names
  }

  killAll(): void {
    process.off('exit', this.#onExit)
    for (const { process: child } of this.#children) child.kill('SIGKILL')
  }
}

/** Runs a command; resolves to its standard output, or fails with its standard error. `input`: what it reads. */
export async function runToEnd(
  command: string,
  args: readonly string[],
  input?: string,
): Promise<string> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
    let out = ''
    let errors = ''
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString()
    })
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(out)
      else reject(new Error(`exit ${String(code)}: ${`${errors}\n${out}`.trim()}`))
    })
  })
}
