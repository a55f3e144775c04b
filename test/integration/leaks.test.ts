import { expect } from 'chai'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Diagnostics } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { PosternError } from '../../src/base/errors.ts'
import { eventually } from '../support/eventually.ts'
import { Stack } from '../support/stack.ts'

const CALLS = 100_000
const AT_ONCE = 200
const RECONNECTS = 1000
/** Over so many repeats a leak of 16 bytes each, or one object, would show. */
const HEAP_GROWTH_BYTES_MAX = 1_500_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

interface Held {
  readonly heapBytes: number
  readonly bufferBytes: number
  readonly reservedBytes: number
  readonly timers: number
  /** Handles and requests that Node counts, by kind. */
  readonly resources: Readonly<Record<string, number>>
}

describe('leaks', function () {
  let stack: Stack
  let client: GatewayClient
  before(async () => {
    stack = await Stack.start()
    await stack.startAgent({ 'backoff.min': '10ms', 'backoff.stable': '0s' })
    client = await stack.connect()
  })
  after(() => {
    stack.stop()
  })

  /** What is held once everything that is to be given back has been. */
  async function held(): Promise<Held> {
    stack.log.lines.length = 0
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      collect()
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    const resources: Record<string, number> = {}
    for (const name of process.getActiveResourcesInfo())
      resources[name] = (resources[name] ?? 0) + 1
    return {
      heapBytes: heapUsed,
      bufferBytes: arrayBuffers,
      reservedBytes: stack.gateway.parts.budget.reservedBytes,
      timers: stack.clock.timerCount,
      resources,
    }
  }

  /** What has ended may take a moment to let go of its timers, on a busy machine a longer one. */
  async function settled(before: Held): Promise<Held> {
    return await eventually(async () => {
      const after = await held()
      return after.timers <= before.timers ? after : undefined
    }, 'the timers are gone')
  }

  function expectSame(before: Held, after: Held): void {
    expect(after.resources).to.deep.equal(before.resources)
    expect(after.heapBytes - before.heapBytes).to.be.lessThan(HEAP_GROWTH_BYTES_MAX)
    expect(after.bufferBytes - before.bufferBytes).to.be.lessThan(HEAP_GROWTH_BYTES_MAX)
    expect(after.timers).to.equal(before.timers)
    expect(after.reservedBytes).to.equal(before.reservedBytes)
  }

  async function call(count: number): Promise<void> {
    const diagnostics = client.cluster('c-1').service(Diagnostics)
    const payload = Buffer.alloc(64)
    let left = count
    const worker = async (): Promise<void> => {
      while (left-- > 0) await diagnostics.echo({ payload }, { timeoutMs: 20_000 })
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
  }

  async function reconnect(count: number): Promise<void> {
    const { tunnel } = stack.agents[0]!
    for (let i = 0; i < count; i++) {
      const connection = await eventually(
        () => tunnel.state.name === 'ready' && tunnel.state.connection,
        'the tunnel is up',
      )
      connection.close(new PosternError('CONNECTION_LOST', 'cut by the test'))
    }
    await eventually(() => tunnel.state.name === 'ready', 'the tunnel is up again')
    await eventually(() => stack.gateway.registry.tunnelCount === 1, 'the others are gone')
  }

  it(`${String(CALLS)} calls leave handles, timers, buffers and heap where they were`, async () => {
    await call(10_000)
    const before = await held()
    await call(CALLS)
    expectSame(before, await settled(before))
  })

  it(`${String(RECONNECTS)} reconnects leave handles, timers, buffers and heap where they were`, async () => {
    await reconnect(100)
    const before = await held()
    await reconnect(RECONNECTS)
    expectSame(before, await settled(before))
  })
})
