import { expect } from 'chai'
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2'
import { connect as connectTls } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { plainData } from '../../src/contract/data-type.ts'
import { ApiStack } from '../support/api-stack.ts'
import { eventually } from '../support/eventually.ts'

/** A message as gRPC sends it. */
function message(bytes: Buffer, flags = 0): Buffer {
  const prefix = Buffer.alloc(5)
  prefix[0] = flags
  prefix.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([prefix, bytes])
}

/** Node's own client would give up before the gateway does. */
const ROOMY = { maxSessionMemory: 1000 }

interface Told {
  readonly head: IncomingHttpHeaders
  readonly tail: IncomingHttpHeaders
  readonly body: Buffer
}

describe('hostile callers of the API', function () {
  let at: ApiStack
  let session: ClientHttp2Session
  beforeEach(async () => {
    at = await ApiStack.start({ 'rpc.messageBytesMax': '4MiB' })
    session = connect(`https://localhost:${String(at.port)}`, { ...at.tls, ...ROOMY })
    session.on('error', () => undefined)
  })
  afterEach(() => {
    session.destroy()
    at.stop()
  })

  const open = (method: string, fields: Record<string, string> = {}): ClientHttp2Stream => {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': `/${method}`, 'content-type': 'application/grpc' },
      ...{ te: 'trailers', 'postern-cluster': 'c-1', ...fields },
    })
    stream.on('error', () => undefined)
    return stream
  }
  const told = (stream: ClientHttp2Stream): Promise<Told> =>
    new Promise((resolve) => {
      let [head, tail]: IncomingHttpHeaders[] = [{}, {}]
      const parts: Buffer[] = []
      stream.on('response', (headers) => (head = headers))
      stream.on('trailers', (headers) => (tail = headers))
      stream.on('data', (part: Buffer) => parts.push(part))
      stream.on('close', () => {
        resolve({ head: head ?? {}, tail: tail ?? {}, body: Buffer.concat(parts) })
      })
    })
  const statusOf = ({ head, tail }: Told): number =>
    Number(tail['grpc-status'] ?? head['grpc-status'] ?? Number.NaN)
  const reserved = (): number => at.stack.gateway.report().buffers.reservedBytes

  it('hold no more than is reserved for them, however their messages are compressed', async () => {
    const bomb = message(gzipSync(Buffer.alloc(4 << 20)), 1)
    const idle = reserved()
    const streams = Array.from({ length: 200 }, () =>
      open('test.v1.Echo/Unary', { 'grpc-encoding': 'gzip' }),
    )
    const answers = streams.map(told)
    for (const stream of streams) stream.write(bomb)
    // What is let in is accounted for; what is not is refused.
    await eventually(() => reserved() - idle > 4 << 20, 'messages are held')
    const refused = await Promise.race(answers)
    expect(statusOf(refused)).to.equal(8)
    session.destroy()
    await eventually(() => reserved() <= idle + (1 << 20), 'everything is given back')
  })

  it('are answered before anything of their request is read, where they may not call', async () => {
    for (const [fields, method, status] of [
      [{ 'postern-cluster': 'c-77' }, 'test.v1.Echo/Both', 14],
      [{}, 'nothing.Here/AtAll', 12],
      [{ 'postern-cluster': '-' }, 'nothing.Here/AtAll', 12],
    ] as const) {
      const stream = open(method, fields)
      const answer = told(stream)
      // Neither a message nor an end ever comes.
      expect(statusOf(await answer), method).to.equal(status)
    }
  })

  it('do not outlast their deadlines by requests that never end', async () => {
    for (const method of ['test.v1.Echo/Unary', 'test.v1.Echo/Many', 'test.v1.Echo/Sum']) {
      const stream = open(method, { 'grpc-timeout': '200m' })
      const answer = told(stream)
      stream.write(message(Buffer.from('x')))
      expect(statusOf(await answer), method).to.equal(4)
    }
  })

  it('leave nothing behind where a stream fails while they are still sending', async () => {
    const streams = Array.from({ length: 20 }, () => open('test.v1.Echo/Both'))
    const answers = streams.map(told)
    for (const stream of streams) {
      stream.write(message(Buffer.from('fail')))
      for (let count = 0; count < 40; count++) stream.write(message(Buffer.alloc(30_000)))
    }
    for (const answer of await Promise.all(answers)) expect(statusOf(answer)).to.equal(9)
    await eventually(() => at.stack.gateway.report().api.running === 0, 'all of it is over')
  })

  it('that read nothing are not kept for ever, and what is kept for them is accounted for', async () => {
    session.destroy()
    session = connect(`https://localhost:${String(at.port)}`, {
      ...at.tls,
      ...ROOMY,
      settings: { initialWindowSize: 0 },
    })
    session.on('error', () => undefined)
    const idle = reserved()
    const stream = open('test.v1.Echo/Unary')
    stream.end(message(Buffer.alloc(2 << 20)))
    await eventually(() => reserved() - idle > 2 << 20, 'the answer is reserved')
    session.destroy()
    await eventually(() => reserved() <= idle + (1 << 20), 'it is given back')
  })

  it('of HTTP/1.1 that answer to nothing are hung up on', async () => {
    const { ca, cert, key } = at.tls
    const socket = connectTls({
      host: 'localhost',
      port: at.port,
      ca,
      cert,
      key,
      ALPNProtocols: ['http/1.1'],
    })
    const said: string[] = []
    socket.on('data', (part: Buffer) => said.push(part.toString()))
    socket.on('error', () => undefined)
    const closed = new Promise((resolve) => socket.on('close', resolve))
    socket.write(
      'POST /a.B/C HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/x\r\ncontent-length: 100000\r\n\r\nabc',
    )
    await eventually(() => said.join('').includes('415'), 'an answer')
    // It keeps its own side open, and says nothing.
    socket.allowHalfOpen = true
    await eventually(
      () => at.stack.gateway.report().api.connections === 1,
      'only the other connection is left',
    )
    socket.destroy()
    await closed
  })

  it('get no metadata of an agent that would pass for HTTP, and the status all the same', async () => {
    const bad = [
      'proxy-connection',
      'http2-settings',
      'nel',
      'clear-site-data',
      'www-authenticate',
      'set-cookie',
    ]
    at.stop()
    at = await ApiStack.start({}, [...bad, 'cost'])
    session = connect(`https://localhost:${String(at.port)}`, { ...at.tls, ...ROOMY })
    at.stack.agents[0]?.services.server.offer({
      name: 'test.v1.Echo/Unary',
      data: plainData('metric'),
      handler: {
        kind: 'unary',
        handle: (request, context) => {
          const all = Object.fromEntries([...bad, 'cost'].map((name) => [name, 'x']))
          context.sendHeaders(all)
          context.trailers = all
          return request
        },
      },
    })
    const stream = open('test.v1.Echo/Unary')
    const answer = told(stream)
    stream.end(message(Buffer.from('x')))
    const { head, tail } = await answer
    expect(tail).to.include({ 'grpc-status': '0', cost: 'x' })
    for (const name of bad)
      expect([head[name], tail[name]], name).to.deep.equal([undefined, undefined])
  })

  it('see all of an answer that is under way when the gateway drains', async () => {
    const large = message(Buffer.alloc(3 << 20))
    const streams = Array.from({ length: 10 }, () => open('test.v1.Echo/Unary'))
    const answers = streams.map(told)
    for (const stream of streams) stream.end(large)
    await Promise.race(
      streams.map((stream) => new Promise((resolve) => stream.once('response', resolve))),
    )
    const drained = at.stack.gateway.drain()
    for (const answer of await Promise.all(answers)) {
      if (Number.isNaN(statusOf(answer))) continue
      expect(statusOf(answer)).to.be.oneOf([0, 14])
    }
    // What was not begun is refused; what was begun is told to its end.
    const whole = (await Promise.all(answers)).filter(
      (answer) => answer.head[':status'] !== undefined && statusOf(answer) !== 14,
    )
    for (const answer of whole)
      expect([statusOf(answer), answer.body.length]).to.deep.equal([0, large.length])
    await drained
  })
})
