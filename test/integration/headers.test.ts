import { expect } from 'chai'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { plainData } from '../../src/contract/data-type.ts'
import type { CallContext } from '../../src/rpc/call-context.ts'
import { RpcError } from '../../src/rpc/status.ts'
import type { Metadata } from '../../src/wire/metadata.ts'
import { Stack } from '../support/stack.ts'

const POLICY = `version: 1
metadata: [served-by, cost, long]
rules:
  - {name: all, callers: ["*"], methods: ["*"]}
`

describe('metadata of answers', function () {
  let stack: Stack
  let told: { headers: Metadata[]; trailers: Metadata[] }
  const listening = () => {
    told = { headers: [], trailers: [] }
    return {
      onHeaders: (metadata: Metadata) => told.headers.push({ ...metadata }),
      onTrailers: (metadata: Metadata) => told.trailers.push({ ...metadata }),
    }
  }
  const begin = (context: CallContext): void => {
    context.sendHeaders({ 'served-by': 'eu-1a', 'not-allowed': 'x' })
    context.trailers = { cost: '7', 'not-allowed': 'x' }
  }

  before(async () => {
    stack = await Stack.start()
    const file = join(stack.pki.folder, 'policy.yaml')
    writeFileSync(file, POLICY)
    const agent = await stack.startAgent({ 'policy.file': file, allow: '[]' })
    const { server } = agent.services
    const data = plainData('cluster-record')
    server.offer({
      name: 'test.T/One',
      data,
      handler: {
        kind: 'unary',
        handle: (request, context) => {
          begin(context)
          if (request.length === 0)
            throw new RpcError('NOT_FOUND', 'none', { metadata: { cost: '9', secret: 'x' } })
          return request
        },
      },
    })
    server.offer({
      name: 'test.T/Many',
      data,
      handler: {
        kind: 'serverStream',
        async *handle(request, context) {
          begin(context)
          yield request
          await Promise.resolve()
          // Too late, and lost.
          context.sendHeaders({ 'served-by': 'again' })
          yield request
        },
      },
    })
    server.offer({
      name: 'test.T/Long',
      data,
      handler: {
        kind: 'unary',
        handle: (_request, context) => {
          context.sendHeaders({ long: context.metadata.long ?? '' })
          context.trailers = { long: context.metadata.long ?? '' }
          return Buffer.from(String(context.metadata.long?.length))
        },
      },
    })
  })
  after(() => {
    rmSync(join(stack.pki.folder, 'policy.yaml'))
    stack.stop()
  })

  for (const size of [3, 40_000])
    it(`comes with a unary answer of ${String(size)} bytes, as far as the policy lets it`, async () => {
      const client = await stack.connect()
      const answer = await client
        .cluster('c-1')
        .channel.unary('test.T/One', Buffer.alloc(size), listening())
      expect(answer.length).to.equal(size)
      expect(told).to.deep.equal({ headers: [{ 'served-by': 'eu-1a' }], trailers: [{ cost: '7' }] })
    })

  it('comes with an error', async () => {
    const client = await stack.connect()
    const call = client.cluster('c-1').channel.unary('test.T/One', Buffer.alloc(0), listening())
    const error = await call.catch((cause: unknown) => cause as RpcError)
    expect(error).to.include({ status: 'NOT_FOUND' })
    expect({ ...(error as RpcError).metadata }).to.deep.equal({ cost: '9' })
    expect(told.headers).to.deep.equal([{ 'served-by': 'eu-1a' }])
    expect(told.trailers).to.deep.equal([{ cost: '9' }])
  })

  it('comes before the first message of a stream, once', async () => {
    const client = await stack.connect()
    const messages: Buffer[] = []
    for await (const one of client
      .cluster('c-1')
      .channel.serverStream('test.T/Many', Buffer.from('hi'), listening())) {
      if (messages.length === 0) expect(told.headers.length).to.equal(1)
      messages.push(one)
    }
    expect(messages.map(String)).to.deep.equal(['hi', 'hi'])
    expect(told).to.deep.equal({ headers: [{ 'served-by': 'eu-1a' }], trailers: [{ cost: '7' }] })
  })

  it('of 15 000 bytes goes with a request and comes before its answer; beside a status it is dropped', async () => {
    const client = await stack.connect()
    const long = 'a'.repeat(15_000)
    const answer = await client
      .cluster('c-1')
      .channel.unary('test.T/Long', Buffer.alloc(100), { metadata: { long }, ...listening() })
    expect(String(answer)).to.equal('15000')
    expect(told.headers).to.deep.equal([{ long }])
    expect(told.trailers).to.deep.equal([])
  })

  it('that a frame has no room for is refused before anything is sent', async () => {
    const client = await stack.connect()
    for (const count of [16_300, 17_000]) {
      const { channel } = client.cluster('c-1')
      const metadata = { long: 'a'.repeat(count) }
      const call = channel.unary('test.T/Long', Buffer.alloc(1), { metadata })
      const error = await call.catch((cause: unknown) => cause as RpcError)
      expect(error).to.include({ code: 'HEAD_TOO_LARGE', notStarted: true })
    }
  })
})
