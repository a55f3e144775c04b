import { plainData } from '../../src/contract/data-type.ts'
import { expect } from 'chai'
import { Diagnostics, Health, RpcError } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import type { MethodHandler } from '../../src/rpc/service.ts'
import { eventually } from '../support/eventually.ts'
import { Stack } from '../support/stack.ts'

describe('calls that mean harm', function () {
  let stack: Stack
  let client: GatewayClient
  beforeEach(async () => {
    stack = await Stack.start()
    await stack.startAgent()
    client = await stack.connect()
  })
  afterEach(() => {
    stack.stop()
  })

  const cluster = () => client.cluster('c-1')

  function offer(handler: MethodHandler): string {
    const name = 'test.T/Method'
    stack.agents[0]!.services.server.offer({ name, data: plainData('cluster-record'), handler })
    return name
  }

  it('an endless stream of empty messages holds up neither clock nor neighbour', async () => {
    for (const target of [client.self(), cluster()]) {
      let count = 0
      const drain = async (timeoutMs: number): Promise<void> => {
        const request = { messages: 0xffff_ffff, messageBytes: 0 }
        const options = { timeoutMs }
        for await (const { payload } of target.service(Diagnostics).download(request, options))
          count += 1 + payload.length
      }
      // A busy machine may not have begun with it after half a second.
      for (let timeoutMs = 500; count === 0 && timeoutMs < 60_000; timeoutMs *= 2) {
        const ended = drain(timeoutMs).catch((error: unknown) => error as RpcError)
        const other = await stack.connect()
        await other.cluster('c-1').service(Health).check({}, { timeoutMs: 50_000 })
        expect(await ended).to.include({ status: 'DEADLINE_EXCEEDED' })
      }
      expect(count).to.be.greaterThan(0)
    }
  })

  it('calls that are cancelled in the tick of their birth cost no connection', async () => {
    for (let i = 0; i < 100; i++) {
      const abort = new AbortController()
      const call = cluster().service(Health).check({}, { signal: abort.signal })
      abort.abort()
      expect(await call.catch((error: unknown) => error as RpcError)).to.include({
        status: 'CANCELLED',
      })
    }
    await cluster().service(Health).check({})
    expect(stack.log.lines.filter(({ message }) => message === 'tunnel closed')).to.deep.equal([])
  })

  it('streams that are stopped in good order leave no handler behind', async () => {
    const { server } = stack.agents[0]!.services
    for (let i = 0; i < 200; i++) {
      const events = cluster().channel.serverStream('grpc.health.v1.Health/Watch', Buffer.alloc(0))
      for await (const event of events) {
        expect(event.length).to.be.greaterThan(0)
        break
      }
    }
    await eventually(() => server.runningCount === 0, 'no handler runs')
  })

  it('an agent that answers without reading leaves nothing queued on the gateway', async () => {
    const name = offer({ kind: 'clientStream', handle: () => Promise.resolve(Buffer.alloc(1)) })
    const { budget } = stack.gateway.parts
    const idleBytes = budget.reservedBytes
    async function* much(): AsyncGenerator<Buffer> {
      for (let i = 0; i < 100; i++) yield await Promise.resolve(Buffer.alloc(100_000))
    }
    for (let i = 0; i < 50; i++) await cluster().channel.clientStream(name, much())
    await eventually(() => budget.reservedBytes === idleBytes, 'all windows are given back')
    const { session } = [...stack.gateway.registry.clusters.values()][0]![0]!.connection
    await eventually(() => session.streamCount === 0, 'no stream is left')
  })
})
