import { spawn, type ChildProcess } from 'node:child_process'
import { resolve } from 'node:path'
import type { Address } from '../../base/address.ts'
import { addressText } from '../../base/address.ts'
import type { Clock } from '../../base/clock.ts'
import { FOR_OWNER, writeState } from '../../identity/state-files.ts'
import { LineCutter, readLine, type LogLine } from './log-lines.ts'
import { noteChild } from './orphans.ts'
import { BARE_ENVIRONMENT } from './program.ts'

const LAST_WORDS_MS = 500
const CONFIG_NAME = 'cloudflared.json'

/** How a cloudflared is started. */
export interface ChildOptions {
  readonly path: string
  /** Words before it, such as those that make it die with us. */
  readonly wrapper: readonly string[]
  readonly folder: string
  readonly tokenFile: string
  /** Where it brings what gateways dial. */
  readonly ingress: Address
  /** Undefined: its own choice. */
  readonly protocol: 'quic' | 'http2' | undefined
  readonly graceMs: number
  readonly clock: Clock
  readonly onLine: (line: LogLine) => void
  /** `reason`: how it ended. */
  readonly onExit: (reason: string) => void
}

/** A running cloudflared: started with nothing of our environment, and no secret in its arguments. */
export class Child {
  readonly #process: ChildProcess
  #hasExited = false
  #hasUsage = false

  /** @throws STATE_UNWRITABLE */
  constructor(options: ChildOptions) {
    const { path, wrapper, folder, onLine } = options
    const [program = path, ...args] = [...wrapper, path, ...argumentsOf(options)]
    this.#process = spawn(program, args, {
      env: environmentOf(options),
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const errors = new LineCutter((line) => {
      onLine(readLine(line))
    })
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      errors.add(chunk.toString())
    })
    this.#process.stdout?.on('data', () => {
      this.#hasUsage = true
    })
    this.#process.on('error', (error: Error) => {
      // Also of a signal that could not be sent, which ends nothing.
      if (this.#process.pid === undefined)
        this.#ended(`it cannot be started: ${error.message}`, options)
    })
    this.#process.on('exit', (code, signal) => {
      // Its last words are read, but not for longer than this: a child of its own may hold the pipes for ever.
      options.clock.startTimer(LAST_WORDS_MS, () => {
        this.#process.stderr?.destroy()
        this.#process.stdout?.destroy()
        this.#ended(this.#howEnded(code, signal), options)
      })
    })
    this.#process.on('close', (code, signal) => {
      this.#ended(this.#howEnded(code, signal), options)
    })
    if (this.#process.pid !== undefined) noteChild(folder, this.#process.pid)
  }

  get pid(): number {
    return this.#hasExited ? 0 : (this.#process.pid ?? 0)
  }

  /** With what it has started: it leads a group of its own. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    const { pid } = this
    if (pid === 0) return
    try {
      process.kill(-pid, signal)
    } catch {
      // It has ended meanwhile.
      this.#process.kill(signal)
    }
  }

  #ended(reason: string, { onExit }: ChildOptions): void {
    if (this.#hasExited) return
    this.#hasExited = true
    onExit(reason)
  }

  /** Exit 0 is no success: it says so to flags and values that it does not know, with its usage or without a word. */
  #howEnded(code: number | null, signal: string | null): string {
    if (signal !== null) return `it was ended by ${signal}`
    const usage = this.#hasUsage
      ? ', and printed its usage: it does not know a flag or a value'
      : ''
    return `it ended by itself with exit status ${String(code)}${usage}`
  }
}

function argumentsOf({ folder, tokenFile, ingress, graceMs }: ChildOptions): readonly string[] {
  const config = resolve(folder, CONFIG_NAME)
  // JSON is YAML. With a file of our own no other is looked for; ingress of the dashboard takes its place.
  const content = { ingress: [{ service: `tcp://${addressText(ingress)}` }] }
  writeState(config, `${JSON.stringify(content)}\n`, FOR_OWNER)
  return [
    ...['tunnel', '--no-autoupdate', '--config', config, '--metrics', '127.0.0.1:0'],
    ...['--output', 'json', '--loglevel', 'info'],
    ...['--grace-period', `${String(Math.ceil(graceMs / 1000))}s`],
    ...['run', '--token-file', resolve(tokenFile)],
  ]
}

function environmentOf({ protocol }: ChildOptions): Record<string, string> {
  return {
    ...BARE_ENVIRONMENT,
    // By variables, which an older one does not know and leaves alone; a flag it would answer with its usage.
    TUNNEL_NO_PRECHECKS: 'true',
    ...(protocol === undefined ? {} : { TUNNEL_TRANSPORT_PROTOCOL: protocol }),
  }
}
