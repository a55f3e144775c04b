import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ChildProcesses } from '../../scripts/child-processes.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { reachTcp } from '../../src/transport/reach.ts'
import { freePort } from './daemons.ts'
import { eventually } from './eventually.ts'
import type { Source } from '../../src/transport/peer-address.ts'

/** Real proxies on loopback: of HTTP CONNECT and of SOCKS5 for who goes out, and a load balancer for who comes in. */
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

  /** HAProxy in front of a port on loopback, which tells by the PROXY protocol who comes. Returns its own port. */
  async haproxy(name: string, target: number): Promise<number> {
    const port = await freePort()
    const file = join(this.#folder, `${name}.cfg`)
    writeFileSync(
      file,
      `global
  maxconn 2000
defaults
  mode tcp
  timeout connect 10s
  timeout client 10m
  timeout server 10m
listen ${name}
  bind 127.0.0.1:${String(port)}
  server one 127.0.0.1:${String(target)} send-proxy-v2 check check-send-proxy inter 200ms
`,
    )
    this.#children.start(name, 'haproxy', ['-db', '-f', file])
    await listens(port)
    return port
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

/** A header of the PROXY protocol, version 2, as a load balancer writes it; for itself where there is no source. */
export function proxyHeader(source: Source | undefined, more: Buffer = Buffer.alloc(0)): Buffer {
  const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
  if (source === undefined) return Buffer.concat([signature, Buffer.from([0x20, 0, 0, 0])])
  const isSix = source.address.includes(':')
  const parts = source.address.split(isSix ? ':' : '.')
  const address = Buffer.from(
    isSix
      ? parts.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255])
      : parts.map(Number),
  )
  const ports = Buffer.from([source.port >> 8, source.port & 255, 0, 1])
  const body = Buffer.concat([address, Buffer.alloc(address.length, 1), ports, more])
  const fixed = Buffer.from([0x21, isSix ? 0x21 : 0x11, body.length >> 8, body.length & 255])
  return Buffer.concat([signature, fixed, body])
}
