import { expect } from 'chai'
import {
  createServer as createHttp2,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import type { RpcChannel } from '../../src/rpc/channel.ts'
import type { RpcError } from '../../src/rpc/status.ts'
import { rejection } from '../support/code-of.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT } from '../support/pki.ts'
import { noteText } from '../support/seen.ts'
import { Stack } from '../support/stack.ts'
import { job, writeDescriptors } from '../support/vendor/acme-server.ts'

const GET = 'acme.v1.Jobs/Get'
const POLICY = 'version: 1\nrules: [{name: all, callers: ["*"], methods: ["*"]}]\n'

describe('hostile servers behind the agent, and hostile descriptions of them', function () {
  let stack: Stack
  let agent: Agent
  let channel: RpcChannel
  let descriptors: string
  const closers: (() => void)[] = []

  before(async () => {
    stack = await Stack.start()
    descriptors = join(stack.pki.folder, 'acme.pb')
    writeDescriptors(descriptors)
    writeFileSync(join(stack.pki.folder, 'policy.yaml'), POLICY)
    agent = await stack.startAgent(flags([]))
    channel = (await stack.connect()).cluster('c-1').channel
  })
  afterEach(() => {
    for (const close of closers.splice(0)) close()
  })
  after(() => {
    stack.stop()
  })

  const flags = (rows: readonly object[]): Record<string, string> => ({
    'policy.file': join(stack.pki.folder, 'policy.yaml'),
    allow: '[]',
    services: JSON.stringify(rows),
  })
  const use = async (...rows: readonly object[]): Promise<void> => {
    const settings = stack.agentSettings(await stack.pki.issue(AGENT), flags(rows))
    await agent.reload(() => settings)
  }
  const useServer = async (server: Server | Http2Server, more: object = {}): Promise<void> => {
    const sockets = new Set<Socket>()
    server.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
    })
    closers.push(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', () => {
        resolve()
      })
    })
    const { port } = server.address() as AddressInfo
    await use({ name: 'acme', target: `grpc://127.0.0.1:${String(port)}`, descriptors, ...more })
  }
  const failure = async (call: Promise<unknown>): Promise<RpcError> => {
    const error = (await call.catch((cause: unknown) => cause)) as RpcError
    noteText(error.message)
    return error
  }
  const reserved = (): number => agent.report().buffers.reservedBytes

  it('that take no streams hold nothing of the calls that wait for them', async () => {
    const server = createHttp2({ settings: { maxConcurrentStreams: 1 } })
    server.on('stream', (stream: ServerHttp2Stream) => stream.on('error', () => undefined))
    await useServer(server)
    const idle = reserved()
    const calls = Array.from({ length: 30 }, () =>
      failure(
        channel.unary(
          GET,
          Buffer.concat([Buffer.from([0x12, 0x80, 0x89, 0x7a]), Buffer.alloc(2_000_000)]),
          { timeoutMs: 500 },
        ),
      ),
    )
    for (const error of await Promise.all(calls))
      expect(error.status, error.message).to.be.oneOf(['RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED'])
    await eventually(() => agent.services.server.runningCount === 0, 'nothing runs')
    await eventually(() => reserved() <= idle + (1 << 20), 'nothing is held')
  })

  it('get one connection, however many call at once, and another after they say nothing', async () => {
    let sessions = 0
    let mute = true
    const server = createServer((socket) => {
      if (mute) return
      http2.emit('connection', socket)
    })
    const http2 = createHttp2()
    http2.on('session', (session: ServerHttp2Session) => {
      sessions++
      session.on('error', () => undefined)
    })
    http2.on('stream', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true })
    })
    mute = false
    await useServer(server)
    await Promise.all(Array.from({ length: 50 }, () => failure(channel.unary(GET, job('a')))))
    // One for calls, one to look at its health.
    expect(sessions).to.be.at.most(2)
    mute = true
    const silent = createServer(() => undefined)
    await useServer(silent)
    expect(await failure(channel.unary(GET, job('a'), { timeoutMs: 300 }))).to.include({
      status: 'DEADLINE_EXCEEDED',
    })
  })

  it('that speak no HTTP/2, or none of gRPC, end calls with a status that says nothing of them', async () => {
    for (const answer of ['HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret', 'secret\r\n', '']) {
      const server = createServer((socket) => {
        socket.on('error', () => undefined)
        socket.end(answer)
      })
      await useServer(server)
      const error = await failure(channel.unary(GET, job('a'), { timeoutMs: 20_000 }))
      expect(error).to.include({ status: 'UNAVAILABLE' })
      expect(error.message)
        .to.match(/service acme (could not be asked|is down)/)
        .and.not.include('secret')
    }
    const server = createHttp2()
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => undefined)
      stream.respond({ ':status': 404 })
      stream.end('secret')
    })
    await useServer(server)
    expect(await failure(channel.unary(GET, job('a')))).to.include({ status: 'UNAVAILABLE' })
  })

  it('that announce more than the agent takes are refused before it is held', async () => {
    const server = createHttp2()
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => undefined)
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      stream.write(Buffer.from('001f000000', 'hex'))
    })
    await useServer(server)
    const before = reserved()
    const error = await failure(channel.unary(GET, job('a'), { timeoutMs: 20_000 }))
    expect(error).to.include({ status: 'RESOURCE_EXHAUSTED' })
    expect(reserved() - before).to.be.lessThan(1 << 20)
  })

  it('of which a file cannot be read leave no connection behind, and tell nobody of it', async () => {
    let open = 0
    const server = createServer((socket) => {
      open++
      socket.resume()
      socket.on('error', () => undefined)
      socket.on('close', () => open--)
    })
    await useServer(server)
    const { port } = server.address() as AddressInfo
    const target = `grpcs://127.0.0.1:${String(port)}`
    await use({ name: 'acme', target, descriptors, caFile: '/secret-place/ca.pem' })
    for (let at = 0; at < 20; at++) {
      const error = await failure(channel.unary(GET, job('a')))
      expect(error.message).to.not.include('secret-place')
    }
    await eventually(() => open === 0, 'no connection is left')
  })

  it('take no names of our own, none twice, and no types of different rules', async () => {
    const row = (name: string, methods: readonly object[]) => ({
      ...{ name, target: 'grpc://127.0.0.1:1', methods },
    })
    const metric = (name: string) => ({ name, dataType: 'metric' })
    for (const [rows, text] of [
      [[row('a', [metric('grpc.health.v1.Health/Check')])], "Postern's own"],
      [[row('a', [metric('postern.v1.Diagnostics/Echo')])], "Postern's own"],
      [[row('a', [metric('postern.dataplane.v1.Secrets/List')])], "Postern's own"],
      [[row('a', [metric('x.Y/Z')]), row('b', [metric('x.Y/Z')])], 'both offer'],
      [
        [
          row(
            'a',
            Array.from({ length: 513 }, (_, at) => metric(`x.Y/M${String(at)}`)),
          ),
        ],
        'at most 512',
      ],
    ] as const) {
      const before = agent.services.server.offers.map(({ name }) => name)
      const error = await rejection(use(...rows), 'CONFIG_INVALID')
      expect(error.message).to.include(text)
      expect(agent.services.server.offers.map(({ name }) => name)).to.deep.equal(before)
    }
  })
})
