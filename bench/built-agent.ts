import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sleep } from './measure.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** Below node_modules, so that the build finds its packages as an installed one does. */
const PACKAGE = join(ROOT, 'node_modules/.cache/postern-bench')
const SETTLE_MS = 4000
const KIB = 1024

/** Builds the package as it is published, and starts its agent as a user would. */
export class BuiltAgent {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(folder: string, settings: Record<string, unknown>): Promise<BuiltAgent> {
    rmSync(PACKAGE, { recursive: true, force: true })
    mkdirSync(PACKAGE, { recursive: true })
    execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), join(PACKAGE, 'dist')])
    cpSync(join(ROOT, 'bin'), join(PACKAGE, 'bin'), { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(PACKAGE, 'package.json'))
    const file = join(folder, 'built-agent.yaml')
    writeFileSync(file, JSON.stringify(settings))
    const program = join(PACKAGE, 'bin/agent.js')
    const child = spawn(process.execPath, [program, 'run', '--config', file], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await new Promise<void>((resolve, reject) => {
      let text = ''
      child.stderr.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        if (text.includes('the tunnel is up')) resolve()
      })
      child.once('exit', () => {
        reject(new Error(`the built agent ended: ${text}`))
      })
    })
    await sleep(SETTLE_MS)
    return new BuiltAgent(child)
  }

  /** Resident memory in bytes, as the kernel counts it. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${String(this.#child.pid)}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * KIB
  }

  stop(): void {
    this.#child.kill('SIGKILL')
  }
}
