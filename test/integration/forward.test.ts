import { expect } from 'chai'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, chownSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { TcpListener } from '../../src/transport/tcp-listen.ts'
import { codeOfForward } from '../support/code-of-forward.ts'
import { freePort } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { Stack } from '../support/stack.ts'

const run = promisify(execFile)
const MIB = 1024 * 1024

/** A local port that leads to a service of the stack's agent. */
async function forward(
  client: GatewayClient,
  service: string,
  codes: (string | undefined)[] = [],
): Promise<{ port: number; close(): void }> {
  const listener = new TcpListener((socket) => {
    void codeOfForward(client.cluster('c-1').forward(service, socket)).then((code) =>
      codes.push(code),
    )
  })
  const { port } = await listener.listen({ host: '127.0.0.1', port: 0 })
  return {
    port,
    close: () => {
      listener.close()
    },
  }
}

async function listen(
  onSocket: (socket: Socket) => void,
): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, onSocket)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as AddressInfo).port }
}

async function stackWith(
  targets: Readonly<Record<string, string>>,
): Promise<{ stack: Stack; client: GatewayClient }> {
  const stack = await Stack.start()
  const services = Object.entries(targets).map(([name, target]) => ({
    name,
    target,
    dataType: 'service-traffic',
    plaintext: 'allowed',
  }))
  await stack.startAgent({ services: JSON.stringify(services) })
  return { stack, client: await stack.connect() }
}

describe('a forward', function () {
  it('carries bytes both ways, half-closed by either side first', async () => {
    const { server, port } = await listen((socket) => {
      const chunks: Buffer[] = []
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      // Answers only once the other side has said everything.
      socket.on('end', () => {
        socket.end(Buffer.concat(chunks).reverse())
      })
    })
    const { stack, client } = await stackWith({ echo: `tcp://127.0.0.1:${String(port)}` })
    const local = await forward(client, 'echo')
    const sent = randomBytes(3 * MIB)
    const got = await new Promise<Buffer>((resolve, reject) => {
      const socket = connect({ port: local.port, host: '127.0.0.1', allowHalfOpen: true })
      const chunks: Buffer[] = []
      socket
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          resolve(Buffer.concat(chunks))
        })
        .on('error', reject)
      socket.end(sent)
    })
    expect(got.equals(Buffer.from(sent).reverse())).to.equal(true)
    await eventually(
      () => stack.agents[0]!.services.server.runningCount === 0,
      'the forward has ended',
    )
    local.close()
    server.close()
    stack.stop()
  })

  it('holds a sender back when its reader stops, and holds no more than the windows', async () => {
    let written = 0
    const { server, port } = await listen((socket) => {
      const pour = (): void => {
        while (!socket.destroyed && socket.write(Buffer.alloc(64 * 1024))) written += 64 * 1024
      }
      socket.on('drain', pour).on('error', () => undefined)
      pour()
    })
    const { stack, client } = await stackWith({ source: `tcp://127.0.0.1:${String(port)}` })
    const local = await forward(client, 'source')
    const socket = connect(local.port, '127.0.0.1')
    socket.once('data', () => socket.pause())
    let last = -1
    await eventually(async () => {
      const isStill = written > 0 && written === last
      last = written
      await new Promise((resolve) => setTimeout(resolve, 300))
      return isStill
    }, 'the source stands still')
    for (const { parts } of stack.agents)
      expect(parts.budget.reservedBytes).to.be.at.most(parts.budget.bytesMax)
    expect(stack.gateway.parts.budget.reservedBytes).to.be.lessThan(40 * MIB)
    expect(written).to.be.lessThan(80 * MIB)
    const before = written
    socket.resume()
    await eventually(() => written > before + 50 * MIB, 'it flows again')
    socket.destroy()
    await eventually(
      () => stack.agents[0]!.services.server.runningCount === 0,
      'the forward has ended',
    )
    local.close()
    server.close()
    stack.stop()
  })

  it('resets rather than closes when the other side is torn', async () => {
    const { server, port } = await listen((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => {
        socket.write('partial', () => {
          socket.resetAndDestroy()
        })
      })
    })
    const { stack, client } = await stackWith({ torn: `tcp://127.0.0.1:${String(port)}` })
    const codes: (string | undefined)[] = []
    const local = await forward(client, 'torn', codes)
    const socket = connect(local.port, '127.0.0.1')
    socket.write('go')
    const error = await new Promise<NodeJS.ErrnoException>((resolve) =>
      socket.once('error', resolve),
    )
    expect(error.code).to.equal('ECONNRESET')
    await eventually(() => codes.length === 1, 'it is told')
    expect(codes[0]).to.equal('CONNECTION_LOST')
    local.close()
    server.close()
    stack.stop()
  })

  it('refuses names that resolve to link-local or metadata addresses, and unknown services', async () => {
    // Debian's resolver answers for a literal in any of these forms.
    const { stack, client } = await stackWith({
      hex: 'tcp://0xa9fea9fe:80',
      mapped: 'tcp://2852039166:80',
      gone: 'tcp://127.0.0.1:1',
    })
    for (const [service, code] of [
      ['hex', 'TARGET_FORBIDDEN'],
      ['mapped', 'TARGET_FORBIDDEN'],
      ['gone', 'TARGET_UNREACHABLE'],
      ['nope', 'METHOD_UNKNOWN'],
    ] as const) {
      const codes: (string | undefined)[] = []
      const local = await forward(client, service, codes)
      const socket = connect(local.port, '127.0.0.1')
      socket.on('error', () => undefined)
      await eventually(() => codes.length === 1, `an answer from ${service}`)
      expect(codes[0]).to.equal(code)
      local.close()
    }
    stack.stop()
  })
})

describe('PostgreSQL through a forward', function () {
  let stack: Stack
  let folder: string
  let stopServer: () => void
  let environment: NodeJS.ProcessEnv
  let local: { port: number; close(): void }

  before(async () => {
    const bin = postgresFolder()
    stack = await Stack.start()
    folder = join(stack.pki.folder, 'postgres')
    mkdirSync(folder)
    const port = await freePort()
    const as = serverUser(folder)
    execFileSync('chmod', ['755', stack.pki.folder])
    execFileSync(
      join(bin, 'initdb'),
      ['-D', join(folder, 'data'), '-A', 'trust', '-U', 'postgres', '--no-sync'],
      { ...as, stdio: 'ignore' },
    )
    const server = spawn(
      join(bin, 'postgres'),
      [
        '-D',
        join(folder, 'data'),
        '-p',
        String(port),
        '-c',
        'listen_addresses=127.0.0.1',
        '-k',
        folder,
        '-c',
        'fsync=off',
        '-c',
        'max_connections=100',
      ],
      { ...as, stdio: 'ignore' },
    )
    stopServer = () => server.kill('SIGQUIT')
    const services = [
      { name: 'postgres', target: `tcp://127.0.0.1:${String(port)}`, dataType: 'service-traffic' },
    ]
    await stack.startAgent({ services: JSON.stringify(services) })
    local = await forward(await stack.connect(), 'postgres')
    environment = {
      ...process.env,
      PGHOST: '127.0.0.1',
      PGPORT: String(local.port),
      PGUSER: 'postgres',
      PGDATABASE: 'postgres',
    }
    await eventually(
      async () =>
        await psql('select 1').then(
          () => true,
          () => false,
        ),
      'PostgreSQL answers',
    )
  })

  after(() => {
    local.close()
    stopServer()
    stack.stop()
  })

  async function psql(...commands: string[]): Promise<string> {
    const args = commands.flatMap((command) => ['-c', command])
    const { stdout } = await run(
      'psql',
      ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', ...args],
      { env: environment, maxBuffer: 512 * MIB },
    )
    return stdout.trim()
  }

  it('runs a schema, and a COPY of 100 MB in and out with the same bytes', async () => {
    await psql(
      'create table runs (id int primary key, payload text not null)',
      'create index on runs (length(payload))',
    )
    const line = 'x'.repeat(1000)
    const rows = Array.from(
      { length: 100_000 },
      (_, id) => `${String(id)}\t${line.slice(0, 990)}${String(id).padStart(10, '0')}`,
    )
    const text = `${rows.join('\n')}\n`
    expect(text.length).to.be.greaterThan(100e6)
    const file = join(folder, 'in.tsv')
    writeFileSync(file, text)
    await psql(`\\copy runs from '${file}'`)
    expect(await psql('select count(*), sum(length(payload)) from runs')).to.equal(
      '100000|100000000',
    )
    const out = await psql('\\copy (select * from runs order by id) to stdout')
    expect(`${out}\n` === text).to.equal(true)
  })

  it('serves fifty connections at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => psql(`select pg_sleep(0.5), ${String(i)}`)),
    )
    expect(answers.map((answer) => answer.split('|')[1])).to.deep.equal(
      Array.from({ length: 50 }, (_, i) => String(i)),
    )
  })
})

function postgresFolder(): string {
  const base = '/usr/lib/postgresql'
  const version = existsSync(base) ? readdirSync(base).sort().at(-1) : undefined
  if (version === undefined)
    throw new Error('PostgreSQL is not installed: apt-get install postgresql')
  return join(base, version, 'bin')
}

/** PostgreSQL refuses to run as root. */
function serverUser(folder: string): { uid?: number; gid?: number } {
  if (userInfo().uid !== 0) return {}
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres']).toString())
  const user = { uid: id('-u'), gid: id('-g') }
  chownSync(folder, user.uid, user.gid)
  return user
}
