import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../scripts/free-port.ts'

const FRONT = fileURLToPath(new URL('clickhouse-front.py', import.meta.url))
/** Where ./scripts/test installs packages of PyPI. */
const PYTHON = fileURLToPath(
  new URL('../../node_modules/.postern-venv/bin/python', import.meta.url),
)

/** One request, as the front was sent it. */
export interface AskedClickhouse {
  readonly sql: string
  readonly settings: Readonly<Record<string, string>>
}

/** ClickHouse's engine (chdb) behind its HTTP interface, with a table `usage.runs` of three rows. */
export class ClickhouseServer {
  readonly url: string
  readonly #process: ChildProcess

  private constructor(port: number) {
    this.url = `http://127.0.0.1:${String(port)}`
    this.#process = spawn(PYTHON, [FRONT, String(port)], { stdio: ['ignore', 'pipe', 'ignore'] })
  }

  static async start(): Promise<ClickhouseServer> {
    const server = new ClickhouseServer(await freePort())
    const { stdout } = server.#process
    if (stdout !== null) await once(stdout, 'data')
    return server
  }

  async asked(): Promise<AskedClickhouse[]> {
    return (await (await fetch(this.url)).json()) as AskedClickhouse[]
  }

  stop(): void {
    this.#process.kill('SIGKILL')
  }
}
