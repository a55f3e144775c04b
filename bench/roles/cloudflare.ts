import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { EdgeStandIn } from '../../test/support/cloudflare/edge.ts'
import { FrontStandIn } from '../../test/support/cloudflare/front.ts'
import { writeProgram, writeTunnelToken } from '../../test/support/cloudflare/program.ts'
import { sleep } from '../measure.ts'

const children: ChildProcess[] = []

/** A front, as far as whoever dials it needs to know. */
export interface FrontAt {
  readonly port: number
  readonly caFile: string
  readonly tokenFile: string
}

async function front(folder: string): Promise<FrontStandIn> {
  mkdirSync(folder, { recursive: true })
  return await FrontStandIn.start(folder)
}

function placeOf({ port, caFile, tokenFile }: FrontStandIn): FrontAt {
  return { port, caFile, tokenFile }
}

/** A front whose connector is beside a port of this machine. */
async function toPort({ folder, port }: { folder: string; port: number }): Promise<FrontAt> {
  const made = await front(folder)
  made.routes.set(
    'localhost',
    made.toTcp(() => port),
  )
  return placeOf(made)
}

/** A front, and behind it an edge for a connector. `program`: how one comes to that edge; its ingress leads to `port`. */
async function toConnector({
  folder,
  port,
}: {
  folder: string
  port: number
}): Promise<FrontAt & { program: string; tunnelTokenFile: string }> {
  const made = await front(folder)
  const edge = await EdgeStandIn.start(folder)
  edge.ingress = `tcp://127.0.0.1:${String(port)}`
  made.routes.set('localhost', edge.upgrade)
  const program = writeProgram(folder, edge, { real: process.env.CLOUDFLARED_BIN })
  const tunnelTokenFile = writeTunnelToken(folder)
  edges.set(program, edge)
  return { ...placeOf(made), program, tunnelTokenFile }
}

const edges = new Map<string, EdgeStandIn>()

/** Runs a connector that nobody supervises, and waits until it is registered. */
async function run({ program, tokenFile }: { program: string; tokenFile: string }): Promise<void> {
  const args = ['tunnel', '--no-autoupdate', 'run', '--token-file', tokenFile]
  const env = { PATH: process.env.PATH ?? '', TUNNEL_TRANSPORT_PROTOCOL: 'http2' }
  children.push(spawn(program, args, { env, stdio: 'ignore' }))
  while (edges.get(program)?.connected === 0) await sleep(20)
}

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})
process.on('disconnect', () => {
  for (const child of children) child.kill('SIGKILL')
  process.exit(0)
})

export const role = { toPort, toConnector, run }
