import { expect } from 'chai'
import { ByteBudget } from '../../src/base/byte-budget.ts'
import { DEFAULT_MUX_LIMITS } from '../../src/mux/limits.ts'
import { BodyCollector } from '../../src/rpc/body-collector.ts'
import { codeOf } from '../support/code-of.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { answer, MuxPair, MuxSide } from '../support/mux-pair.ts'

describe('limits', () => {
  it('refuse a session for which no budget is left', () => {
    codeOf(() => new MuxSide('acceptor', {}, 1000), 'BUDGET_EXHAUSTED')
  })

  it('refuse a stream for whose window no budget is left, and the session goes on', () => {
    const { sessionCreditBytes, windowBytesMin } = DEFAULT_MUX_LIMITS
    const pair = new MuxPair({}, sessionCreditBytes + windowBytesMin)
    pair.acceptor.onOpen = ({ stream, head }) => {
      if (head.toString() === 'first') stream.accept(new RecordingSink())
      else
        codeOf(() => {
          stream.accept(new RecordingSink())
        }, 'BUDGET_EXHAUSTED')
    }
    const first = pair.dialer.open('first', { wantsData: false })
    pair.pump()
    const second = pair.dialer.open('second', { wantsData: false })
    pair.pump()
    expect(first.sink.events).to.deep.equal(['accept'])
    expect(second.sink.events).to.deep.equal(['refuse BUDGET_EXHAUSTED retry'])
    expect([pair.dialer.closed, pair.acceptor.closed]).to.deep.equal([undefined, undefined])
  })

  it('refuse streams over the number that was granted, and take the next when one has ended', () => {
    const pair = new MuxPair({ streamsMax: 2 })
    const open = () => pair.dialer.open('head', { isEnded: true, wantsData: false })
    open()
    open()
    pair.pump()
    codeOf(open, 'STREAM_LIMIT')
    answer(pair.acceptor.opened[0]!.stream, 'done')
    pair.pump()
    open()
    pair.pump()
    expect(pair.acceptor.opened.length).to.equal(3)
  })

  it('refuse what a peer opens too fast, and the session goes on', () => {
    const pair = new MuxPair({ opensPerSecond: 2 })
    const sinks = [1, 2, 3].map(() => pair.dialer.open('head').sink)
    pair.pump()
    expect(sinks.map(({ events }) => events.join())).to.deep.equal([
      '',
      '',
      'refuse STREAM_LIMIT retry',
    ])
    expect(pair.acceptor.closed).to.equal(undefined)
  })

  it('of the budget hold for a message that is gathered, and are given back', () => {
    const budget = new ByteBudget(10)
    const collector = new BodyCollector(budget, 100)
    collector.add(Buffer.alloc(8))
    codeOf(() => {
      collector.add(Buffer.alloc(8))
    }, 'BUDGET_EXHAUSTED')
    collector.drop()
    expect(budget.reservedBytes).to.equal(0)
  })
})
