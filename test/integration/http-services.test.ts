import { expect } from 'chai'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer, request, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { duplexPair, type Duplex } from 'node:stream'
import type { Agent } from '../../src/agent/agent.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { normalPath } from '../../src/transport/http-path.ts'
import { eventually } from '../support/eventually.ts'
import { Stack } from '../support/stack.ts'

const RULES = `
rules:
  - name: reads
    callers: ["*"]
    services: [web]
    paths: ["GET /v1/*", "POST /v1/items", "GET /ws/*"]
    message: 64KiB
  - name: sockets
    callers: ["*"]
    services: [web]
    paths: ["GET /ws/live"]
    upgrade: true
`

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

describe('a forward to an HTTP service', function () {
  let stack: Stack
  let agent: Agent
  let client: GatewayClient
  let target: Server
  let seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[]
  let policy: string

  beforeEach(async () => {
    seen = []
    target = createServer((incoming, response) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('end', () => {
        const { method = '', url = '', headers } = incoming
        seen.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
        if (url === '/v1/large') response.end(Buffer.alloc(100_000))
        else if (url === '/v1/broken') incoming.socket.destroy()
        else response.writeHead(200, { 'x-hop': '1', connection: 'x-hop', 'x-kept': '2' }).end(url)
      })
    })
    target.on('upgrade', (incoming: IncomingMessage, socket: Socket) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n',
      )
      socket.on('error', () => undefined)
      socket.pipe(socket)
      seen.push({ method: 'UPGRADE', url: incoming.url ?? '', headers: incoming.headers, body: '' })
    })
    await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
    stack = await Stack.start()
    policy = join(stack.pki.folder, 'policy.yaml')
    writeFileSync(policy, `version: 1${RULES}`)
    const address = `http://127.0.0.1:${String((target.address() as AddressInfo).port)}`
    const services = JSON.stringify([{ name: 'web', target: address, dataType: 'service-traffic' }])
    agent = await stack.startAgent({ allow: '[]', 'policy.file': policy, services })
    client = await stack.connect()
  })
  afterEach(() => {
    stack.stop()
    target.closeAllConnections()
    target.close()
  })

  /** A connection to the service, through everything. */
  function open(): Duplex {
    const [near, far] = duplexPair()
    client
      .cluster('c-1')
      .forward('web', far)
      .catch(() => undefined)
      .finally(() => near.destroy())
    near.on('error', () => undefined)
    return near
  }

  function ask(
    path: string,
    options: { method?: string; body?: string; headers?: object; socket?: Duplex } = {},
  ): Promise<Answer> {
    const { method = 'GET', body, headers = {}, socket = open() } = options
    return new Promise((resolve, reject) => {
      const call = request(
        {
          ...{ method, path, headers: { host: 'web', ...headers } },
          createConnection: () => socket,
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('error', reject)
          response.on('end', () => {
            const { statusCode: status = 0 } = response
            resolve({ status, headers: response.headers, body: Buffer.concat(chunks).toString() })
          })
        },
      )
      call.on('error', reject)
      call.end(body)
    })
  }

  async function raw(bytes: string): Promise<string> {
    const socket = open()
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.write(bytes)
    await eventually(() => Buffer.concat(chunks).includes('\r\n\r\n'), 'an answer')
    socket.destroy()
    return Buffer.concat(chunks).toString()
  }

  it('lets requests through that a rule allows, and refuses others, on one connection', async () => {
    const allowed = await ask('/v1/items?limit=5')
    expect([allowed.status, allowed.body]).to.deep.equal([200, '/v1/items?limit=5'])
    const posted = await ask('/v1/items', { method: 'POST', body: 'made' })
    expect(posted.status).to.equal(200)
    expect(seen.map(({ method, body }) => [method, body])).to.deep.equal([
      ['GET', ''],
      ['POST', 'made'],
    ])
    for (const [method, path] of [
      ['DELETE', '/v1/items'],
      ['GET', '/admin'],
      ['GET', '/v1/items/5'],
      ['POST', '/v1/other'],
    ] as const) {
      const { status, body } = await ask(path, { method })
      expect([status, (JSON.parse(body) as { code: string }).code]).to.deep.equal([
        403,
        'POLICY_DENIED',
      ])
    }
    expect(seen).to.have.length(2)
  })

  it('passes on no header of one connection, and names none of ours', async () => {
    const { headers } = await ask('/v1/items', {
      headers: { connection: 'x-secret', 'x-secret': 'a', te: 'trailers', 'x-kept': 'b' },
    })
    const [got] = seen
    expect(got?.headers).to.include({ host: 'web', 'x-kept': 'b' })
    expect(got?.headers).to.not.have.any.keys('x-secret', 'te')
    expect(headers).to.include({ 'x-kept': '2' })
    expect(headers).to.not.have.property('x-hop')
  })

  it('judges a path as every server must read it, and refuses what some would read otherwise', async () => {
    for (const path of [
      '/v1/../admin',
      '/v1/%2e%2e/admin',
      '/v1%2fitems',
      '/v1/%2Fadmin',
      '//v1/items',
      '/v1/./items',
      '/v1/items;x=1',
      '/v1\\items',
      '/v1/%252e',
      '/v1/%00',
      'http://other/v1/items',
      '*',
    ])
      expect(normalPath(path), path).to.equal(undefined)
    expect(normalPath('/v1/%61?x=/../')).to.equal('/v1/a')
    const { status, body } = await ask('/v1/%2e%2e/admin')
    expect([status, body.includes('MALFORMED_CALL')]).to.deep.equal([400, true])
    expect(seen).to.deep.equal([])
  })

  it('refuses what is no HTTP, or is so in two ways at once', async () => {
    const get = 'GET /v1/items HTTP/1.1\r\nhost: web\r\n'
    for (const bytes of [
      'hello\r\n\r\n',
      '\x16\x03\x01\x00\x05hello\r\n\r\n',
      'GET /v1/items HTTP/1.1\r\n\r\n',
      `${get}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${get}content-length: 5\r\ncontent-length: 6\r\n\r\n`,
      `${get}x: ${'y'.repeat(20_000)}\r\n\r\n`,
      `${get}bad header: 1\r\n\r\n`,
      `${get}transfer-encoding: chunked\r\n\r\nzz\r\n`,
      'CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: web\r\n\r\n',
    ])
      expect(await raw(bytes), JSON.stringify(bytes.slice(0, 60))).to.match(/^HTTP\/1.1 4\d\d /)
    expect(seen).to.deep.equal([])
  })

  it('bounds requests and answers where the rule does', async () => {
    const body = 'x'.repeat(70_000)
    const posted = await ask('/v1/items', { method: 'POST', body }).catch(() => undefined)
    expect(posted?.status ?? 413).to.equal(413)
    expect(seen).to.deep.equal([])
    const large = await ask('/v1/large').then(
      ({ body: got }) => got.length,
      () => 0,
    )
    expect(large).to.be.at.most(65_536)
  })

  it('upgrades a connection where a rule says so, and nowhere else', async () => {
    const upgrade = (path: string): string =>
      `GET ${path} HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n`
    expect(await raw(upgrade('/ws/other'))).to.match(/^HTTP\/1.1 403 /)
    expect(seen).to.deep.equal([])
    const socket = open()
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.write(upgrade('/ws/live'))
    const got = (): string => Buffer.concat(chunks).toString()
    await eventually(() => got().includes('101 Switching'), 'it is upgraded')
    socket.write('ping')
    await eventually(() => got().endsWith('ping'), 'bytes go both ways')
    agent.guard.guard.lockDown('now')
    await eventually(() => socket.destroyed, 'a lockdown ends it')
  })

  it('says of a target that fails only that it does, and lives on', async () => {
    const { status, body } = await ask('/v1/broken')
    expect([status, body]).to.deep.equal([
      502,
      '{"code":"TARGET_UNREACHABLE","message":"the service did not answer"}\n',
    ])
    expect((await ask('/v1/items')).status).to.equal(200)
  })

  it('is on the record request by request: by the pattern of its path, never the path or query', async () => {
    await ask('/v1/items?token=hunter2', { method: 'POST', body: 'four' })
    await ask('/admin/hunter2')
    await eventually(() => agent.guard.report().record?.failure === undefined, 'it can be written')
    agent.stop()
    const folder = join(stack.pki.folder, 'state', 'audit')
    const files = readdirSync(folder).filter((name) => name.startsWith('record-'))
    const text = files.map((name) => readFileSync(join(folder, name), 'utf8')).join('')
    expect(text).to.not.include('hunter2')
    const lines = text
      .split('\n')
      .filter((line) => line.includes('"verb"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines[0]).to.deep.include({
      ...{ service: 'web', verb: 'POST', path: 'POST /v1/items', decision: 'allow', rule: 'reads' },
      ...{ outcome: 'OK', in: 4, out: 23 },
    })
    expect(lines[1]).to.deep.include({ verb: 'GET', path: '*', decision: 'deny', why: 'path' })
  })
})
