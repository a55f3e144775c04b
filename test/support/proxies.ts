import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ChildProcesses } from '../../scripts/child-processes.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { reachTcp } from '../../src/transport/reach.ts'
import { freePort } from './daemons.ts'
import { eventually } from './eventually.ts'

/** Real egress proxies on loopback, of HTTP CONNECT and of SOCKS5. */
export class Proxies {
  readonly #folder: string
  readonly #children: ChildProcesses

  constructor(folder: string) {
    this.#folder = folder
    this.#children = new ChildProcesses(folder)
  }

  /** `more`: lines for its configuration. Returns host:port; what it connected to is in NAME.access. */
  async tinyproxy(name: string, more: string): Promise<string> {
    const port = await freePort()
    const file = join(this.#folder, `${name}.conf`)
    const log = join(this.#folder, `${name}.access`)
    writeFileSync(
      file,
      `Port ${String(port)}\nListen 127.0.0.1\nTimeout 600\nLogFile "${log}"\nLogLevel Connect\n${more}`,
    )
    this.#children.start(name, 'tinyproxy', ['-d', '-c', file])
    await listens(port)
    return `127.0.0.1:${String(port)}`
  }

  async microsocks(name: string, ...more: string[]): Promise<string> {
    const port = await freePort()
    this.#children.start(name, 'microsocks', ['-i', '127.0.0.1', '-p', String(port), ...more])
    await listens(port)
    return `127.0.0.1:${String(port)}`
  }

  stop(): void {
    this.#children.killAll()
  }
}

async function listens(port: number): Promise<void> {
  await eventually(
    () =>
      reachTcp({ host: '127.0.0.1', port }, systemClock, 500).then(
        () => true,
        () => false,
      ),
    'the proxy listens',
  )
}
