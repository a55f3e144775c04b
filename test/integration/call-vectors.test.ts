import { plainData } from '../../src/contract/data-type.ts'
import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { systemRandom } from '../../src/base/random.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { RpcChannel } from '../../src/rpc/channel.ts'
import { RpcRuntime } from '../../src/rpc/runtime.ts'
import { KIND } from '../../src/wire/open-head.ts'
import type { CallVector } from '../../scripts/call-vectors.ts'
import { DeafCaller } from '../support/deaf-caller.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MuxPair } from '../support/mux-pair.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { CALLER } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'
import { eventually } from '../support/eventually.ts'

const { heads, trailers } = JSON.parse(
  readFileSync(new URL('../vectors/calls.json', import.meta.url), 'utf8'),
) as { heads: CallVector[]; trailers: CallVector[] }

describe('the vectors of calls', function () {
  let stack: Stack
  let caller: DeafCaller
  before(async () => {
    stack = await Stack.start()
    await stack.startAgent()
    caller = await DeafCaller.connect(stack.callerPort, await stack.pki.issue(CALLER))
  })
  after(() => {
    caller.close()
    stack.stop()
  })

  for (const { meaning, hex, error } of heads)
    it(`a gateway judges ${meaning}: ${error ?? 'in order'}`, async () => {
      const code = await caller.openRaw(Buffer.from(hex, 'hex'))
      if (error === undefined) expect(code).to.be.oneOf(['CLUSTER_UNKNOWN', 'METHOD_UNKNOWN'])
      else expect(code).to.equal(error)
    })

  for (const { meaning, hex, error } of trailers)
    it(`a caller judges a trailer of ${meaning}: ${error ?? 'in order'}`, async () => {
      const pair = new MuxPair({})
      const runtime = new RpcRuntime({
        clock: new FakeClock(),
        random: systemRandom,
        logger: silentLogger,
        limits: { messageBytesMax: 1 << 20 },
      })
      pair.acceptor.onOpen = ({ stream }) => {
        const writer = stream.beginTrailer()
        writer.bytes(Buffer.from(hex, 'hex'))
        stream.endTrailer(writer)
      }
      const call = new RpcChannel(runtime, pair.dialer.session, 'c').unary('a.B/C', Buffer.alloc(0))
      const outcome = call.then(
        () => undefined,
        (cause: unknown) => cause as { code?: string; status: string },
      )
      pair.pump()
      const failed = await outcome
      if (error !== undefined) expect(failed).to.include({ code: error })
      else expect(failed?.code).to.equal(undefined)
    })

  it('a relayed call that gets STOP after data still ends with its trailer', async () => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    stack.agents[0]?.services.server.offer({
      name: 'test.T/Slow',
      data: plainData('cluster-record'),
      handler: {
        kind: 'serverStream',
        async *handle() {
          yield Buffer.from('one')
          await held
          yield Buffer.from('two')
        },
      },
    })
    const sink = new RecordingSink()
    const stream = caller.ask(KIND.serverStream, 'c-1', 'test.T/Slow', { hasCredit: true, sink })
    await eventually(() => sink.received.length > 0, 'the first message came')
    stream?.stop('CANCELLED')
    await eventually(() => sink.events.length > 1, 'it ends')
    release()
    expect(sink.events.map((event) => event.split(' ')[0])).to.deep.equal(['accept', 'trailer'])
  })
})
