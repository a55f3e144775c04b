import { expect } from 'chai'
import { RetryingChannel, type Way } from '../../src/caller/retrying-channel.ts'
import type { CallOptions } from '../../src/rpc/channel.ts'
import { RpcError, rpcErrorOfCode } from '../../src/rpc/status.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'

type Answer = (options: CallOptions | undefined) => Buffer

function wayOf(...answers: readonly Answer[]): Way & { asked: (CallOptions | undefined)[] } {
  const asked: (CallOptions | undefined)[] = []
  const answer = (options?: CallOptions): Buffer => {
    const act = answers[Math.min(asked.length, answers.length - 1)]
    asked.push(options)
    return act?.(options) ?? Buffer.alloc(0)
  }
  const channel = {
    unary: (_method: string, _request: Uint8Array, options?: CallOptions) =>
      new Promise<Buffer>((resolve) => {
        resolve(answer(options))
      }),
    async *serverStream(_method: string, _request: Uint8Array, options?: CallOptions) {
      yield await Promise.resolve(answer(options))
      yield await Promise.resolve(answer(options))
    },
    clientStream: () => Promise.resolve(answer()),
    bidi: () => [] as never,
  }
  return { channel, asked }
}

const fine: Answer = () => Buffer.from('fine')
const draining: Answer = () => {
  throw rpcErrorOfCode('GOING_AWAY', '', true)
}
const lost: Answer = () => {
  throw rpcErrorOfCode('CONNECTION_LOST', '')
}
const denied: Answer = () => {
  throw rpcErrorOfCode('POLICY_DENIED', '', true)
}

describe('a channel over several gateways', () => {
  let clock: FakeClock
  let closing: AbortController
  beforeEach(() => {
    clock = new FakeClock()
    closing = new AbortController()
  })

  function over(...ways: readonly Way[]): RetryingChannel {
    const next = (tried: ReadonlySet<Way>) => ways.find((way) => !tried.has(way))
    const { signal: closed } = closing
    return new RetryingChannel({ clock, random: new SeededRandom(1), next, closed })
  }

  async function errorOf(promise: Promise<unknown>): Promise<RpcError> {
    return await promise.then(
      () => expect.fail('it did not fail'),
      (error: unknown) => error as RpcError,
    )
  }

  /** Lets time pass until the promise is settled. */
  async function settle<T>(promise: Promise<T>): Promise<T> {
    const progress = { isOver: false }
    const done = (): void => {
      progress.isOver = true
    }
    promise.then(done, done)
    while (!progress.isOver) {
      await new Promise((resolve) => setImmediate(resolve))
      clock.advance(100)
    }
    return await promise
  }

  it('offers a call that was not started to the other', async () => {
    const [first, second] = [wayOf(draining), wayOf(fine)]
    expect((await over(first, second).unary('m', Buffer.alloc(0))).toString()).to.equal('fine')
    expect([first.asked.length, second.asked.length]).to.deep.equal([1, 1])
  })

  it('does not send again what may have been started, or what nobody will take', async () => {
    for (const refusal of [lost, denied]) {
      const [first, second] = [wayOf(refusal), wayOf(fine)]
      await errorOf(over(first, second).unary('m', Buffer.alloc(0)))
      expect(second.asked.length).to.equal(0)
    }
  })

  it('comes back to all of them after a pause, with what is left of the time', async () => {
    const way = wayOf(draining, draining, fine)
    await settle(over(way).unary('m', Buffer.alloc(0), { timeoutMs: 5000 }))
    expect(way.asked.length).to.equal(3)
    expect(way.asked[0]?.timeoutMs).to.equal(5000)
    expect(way.asked[2]?.timeoutMs).to.be.within(1, 4999)
  })

  it('gives up at the deadline with the last error, or says that there is no gateway', async () => {
    const error = await errorOf(
      settle(over(wayOf(draining)).unary('m', Buffer.alloc(0), { timeoutMs: 300 })),
    )
    expect(error).to.include({ code: 'GOING_AWAY', notStarted: true })
    const none = await errorOf(settle(over().unary('m', Buffer.alloc(0), { timeoutMs: 300 })))
    expect(none).to.include({ code: 'CONNECTION_LOST', notStarted: true })
  })

  it('takes a timeout of 0 for no deadline, as one channel does', async () => {
    const way = wayOf(fine)
    await over(way).unary('m', Buffer.alloc(0), { timeoutMs: 0 })
    expect(way.asked[0]?.timeoutMs).to.equal(0)
  })

  it('stops when the call is cancelled', async () => {
    const abort = new AbortController()
    const call = over(wayOf(draining)).unary('m', Buffer.alloc(0), { signal: abort.signal })
    abort.abort()
    expect(await errorOf(settle(call))).to.include({ code: 'CANCELLED', notStarted: true })
  })

  it('ends a call that waits for a way when it is closed', async () => {
    const call = over().unary('m', Buffer.alloc(0))
    closing.abort()
    expect(await errorOf(settle(call))).to.include({ code: 'SHUTDOWN', notStarted: true })
  })

  it('of responses, offers a call again before the first of them and not after', async () => {
    const got: string[] = []
    const read = async (channel: RetryingChannel): Promise<void> => {
      for await (const message of channel.serverStream('m', Buffer.alloc(0)))
        got.push(message.toString())
    }
    await read(over(wayOf(draining), wayOf(fine)))
    expect(got).to.deep.equal(['fine', 'fine'])
    const second = wayOf(fine)
    await errorOf(read(over(wayOf(fine, draining), second)))
    expect([got.length, second.asked.length]).to.deep.equal([3, 0])
  })

  it('says that the caller has finished, whatever the connection says that it closes', async () => {
    const closes: Answer = () => {
      closing.abort()
      throw rpcErrorOfCode('CONNECTION_LOST', 'closed')
    }
    const error = await errorOf(over(wayOf(closes)).unary('m', Buffer.alloc(0)))
    expect(error).to.include({ code: 'SHUTDOWN', notStarted: false })
  })
})
