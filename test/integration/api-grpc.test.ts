import {
  Client,
  compressionAlgorithms,
  credentials,
  Metadata,
  status,
  type ServiceError,
} from '@grpc/grpc-js'
import { expect } from 'chai'
import { ApiStack } from '../support/api-stack.ts'
import { eventually } from '../support/eventually.ts'

const same = (bytes: Buffer): Buffer => bytes
const path = (name: string): string => `/test.v1.Echo/${name}`

/** What a call came to, as a client of gRPC sees it. */
interface Seen {
  readonly messages: readonly string[]
  readonly code: number
  readonly details: string
  readonly headers: Record<string, unknown>
  readonly trailers: Record<string, unknown>
}

describe('gRPC at the gateway, from grpc-js', function () {
  let at: ApiStack
  let client: Client
  before(async () => {
    at = await ApiStack.start()
    const { ca, key, cert } = at.tls
    const ssl = credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert))
    client = new Client(`localhost:${String(at.port)}`, ssl)
  })
  after(() => {
    client.close()
    at.stop()
  })

  const metadata = (more: Record<string, string> = {}): Metadata => {
    const made = new Metadata()
    for (const [key, value] of Object.entries({ 'postern-cluster': 'c-1', ...more }))
      made.set(key, value)
    return made
  }
  const unary = (
    name: string,
    request: string,
    more: Record<string, string> = {},
    options: object = {},
  ): Promise<Seen> =>
    new Promise((resolve) => {
      const seen = { headers: {}, trailers: {}, messages: [] as string[] }
      const call = client.makeUnaryRequest(
        path(name),
        same,
        same,
        Buffer.from(request),
        metadata(more),
        options,
        (error: ServiceError | null, answer?: Buffer) => {
          if (answer !== undefined) seen.messages.push(String(answer))
          const { code, details } = error ?? { code: status.OK, details: '' }
          setImmediate(() => {
            resolve({ ...seen, code, details })
          })
        },
      )
      call.on('metadata', (told: Metadata) => (seen.headers = told.getMap()))
      call.on('status', (told) => (seen.trailers = told.metadata.getMap()))
    })

  it('calls a method with one answer, with metadata both ways', async () => {
    const seen = await unary('Unary', 'hello', { tenant: 'acme', 'not-listed': 'x' })
    expect(seen).to.include({ code: 0 })
    expect(seen.messages).to.deep.equal(['hello'])
    expect(seen.headers).to.include({ 'served-by': 'acme' })
    expect(seen.trailers).to.deep.include({ cost: '7' })
  })

  it('tells a failure with its status, text and metadata', async () => {
    const seen = await unary('Unary', 'fail')
    expect(seen).to.include({ code: 9, details: 'as you wish: 100 % é' })
    expect(seen.trailers).to.include({ cost: '3' })
    const details = seen.trailers['grpc-status-details-bin'] as Buffer
    expect(details.subarray(0, 2).toString('hex')).to.equal('0809')
  })

  it('streams answers, requests and both', async () => {
    const many: string[] = []
    const stream = client.makeServerStreamRequest(
      path('Many'),
      same,
      same,
      Buffer.from('x'),
      metadata(),
    )
    let headers: Metadata | undefined
    stream.on('metadata', (told: Metadata) => (headers = told))
    for await (const one of stream) many.push(String(one))
    expect(many).to.deep.equal(['x', 'x', 'x'])
    expect(headers?.getMap()).to.include({ 'served-by': 'nobody' })
    const sum = await new Promise<string>((resolve, reject) => {
      const call = client.makeClientStreamRequest(
        path('Sum'),
        same,
        same,
        metadata(),
        (error, answer) => {
          if (error === null) resolve(String(answer))
          else reject(error)
        },
      )
      for (const one of ['a', 'b', 'c']) call.write(Buffer.from(one))
      call.end()
    })
    expect(sum).to.equal('abc')
    const both = client.makeBidiStreamRequest(path('Both'), same, same, metadata())
    const echoed: string[] = []
    both.write(Buffer.from('1'))
    for await (const one of both) {
      echoed.push(String(one))
      if (echoed.length < 3) both.write(Buffer.from(String(echoed.length + 1)))
      else both.end()
    }
    expect(echoed).to.deep.equal(['1', '2', '3'])
  })

  it('ends a stream that fails with the status behind its messages', async () => {
    const stream = client.makeServerStreamRequest(
      path('Many'),
      same,
      same,
      Buffer.from('fail'),
      metadata(),
    )
    const messages: string[] = []
    const error = await new Promise<ServiceError>((resolve) => {
      stream.on('data', (one: Buffer) => messages.push(String(one)))
      stream.on('error', resolve)
    })
    expect(messages).to.deep.equal(['fail', 'fail', 'fail'])
    expect(error).to.include({ code: 9, details: 'as you wish: 100 % é' })
  })

  it('passes large messages, compressed ones too, and refuses what is over the limit', async () => {
    const large = 'x'.repeat(3_000_000)
    const plain = await unary('Unary', large)
    expect(plain.messages, plain.details).to.deep.equal([large])
    const { ca, key, cert } = at.tls
    const ssl = credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert))
    const before = client
    client = new Client(`localhost:${String(at.port)}`, ssl, {
      'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
      'grpc.max_receive_message_length': -1,
    })
    try {
      const packed = await unary('Unary', large)
      expect(packed.messages, packed.details).to.deep.equal([large])
      expect(await unary('Unary', 'x'.repeat(5_000_000))).to.include({ code: 8 })
    } finally {
      client.close()
      client = before
    }
    expect(await unary('Unary', 'x'.repeat(5_000_000))).to.include({ code: 8 })
  })

  it('keeps deadlines, and cancels what the client gives up', async () => {
    const late = await unary('Never', 'x', {}, { deadline: Date.now() + 200 })
    expect(late).to.include({ code: 4 })
    const running = (): number => at.stack.agents[0]?.services.server.runningCount ?? 0
    await eventually(() => running() === 0, 'the handler has gone')
    const call = client.makeUnaryRequest(
      path('Never'),
      same,
      same,
      Buffer.from('x'),
      metadata(),
      () => undefined,
    )
    call.on('error', () => undefined)
    await eventually(() => running() === 1, 'the handler runs')
    call.cancel()
    await eventually(() => running() === 0, 'the handler has gone')
  })

  it('says of what cannot be called why', async () => {
    expect(await unary('Unary', 'x', { 'postern-cluster': 'c-9' })).to.include({ code: 14 })
    expect(await unary('Nothing', 'x')).to.include({ code: 12 })
    expect(await unary('Unary', 'x', { 'postern-cluster': 'No Cluster' })).to.include({ code: 3 })
  })

  it('answers for the gateway itself', async () => {
    const call = await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest(
        '/grpc.health.v1.Health/Check',
        same,
        same,
        Buffer.alloc(0),
        metadata({ 'postern-cluster': '-' }),
        (error, answer) => {
          if (error === null && answer !== undefined) resolve(answer)
          else reject(error ?? new Error('no answer'))
        },
      )
    })
    expect(call.toString('hex')).to.equal('0801')
  })
})
