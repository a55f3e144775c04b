import { expect } from 'chai'
import { BUDGET_SHARE, ByteBudget } from '../../src/base/byte-budget.ts'
import type { PosternError } from '../../src/base/errors.ts'
import { DEFAULT_MUX_LIMITS } from '../../src/mux/limits.ts'
import { SessionWindow } from '../../src/mux/receive-window.ts'
import { BodyCollector } from '../../src/rpc/body-collector.ts'
import { codeOf } from '../support/code-of.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { answer, MuxPair, MuxSide } from '../support/mux-pair.ts'

describe('limits', () => {
  it('refuse a session for which no budget is left', () => {
    codeOf(() => new MuxSide('acceptor', {}, 1000), 'BUDGET_EXHAUSTED')
  })

  it('refuse a stream for whose window no budget is left, and the session goes on', () => {
    const pair = new MuxPair({}, 320 * 1024)
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

  it('on resets are kept by whoever opens, so that nobody is cut off for the cancelling of many', () => {
    const pair = new MuxPair({ resetsPerSecond: 100, resetsBurst: 100 })
    let refused = 0
    for (let i = 0; i < 1000; i++) {
      try {
        const { stream } = pair.dialer.open('head')
        pair.pump()
        stream.reset('CANCELLED')
        pair.pump()
      } catch (error) {
        expect((error as PosternError).code).to.equal('STREAM_LIMIT')
        refused++
      }
    }
    expect(refused).to.be.within(900, 950)
    expect([pair.dialer.closed, pair.acceptor.closed]).to.deep.equal([undefined, undefined])
  })

  it('reserve what waits for a peer that calls and does not read, and cut it off', () => {
    const pair = new MuxPair({}, 2 * 1024 * 1024)
    pair.acceptor.onOpen = ({ stream }) => {
      answer(stream, 'x'.repeat(16_000))
    }
    for (let i = 0; i < 400 && pair.acceptor.closed === undefined; i++) {
      pair.dialer.open('head', { isEnded: true, wantsData: false })
      pair.acceptor.session.receive(pair.dialer.take(), 0)
    }
    expect(pair.acceptor.closed?.code).to.equal('BUDGET_EXHAUSTED')
    expect(pair.acceptor.budget.reservedBytes).to.equal(0)
  })

  it('leave room for every stream that was promised, whatever the others hold', () => {
    const pair = new MuxPair({ streamsMax: 4096 })
    const sinks: RecordingSink[] = []
    pair.acceptor.onOpen = ({ stream }) => {
      const sink = new RecordingSink()
      sink.consumes = sinks.length % 2 === 0
      sinks.push(sink)
      stream.accept(sink)
    }
    const streams = Array.from({ length: 4096 }, () => {
      const opened = pair.dialer.open('head', { wantsData: false })
      opened.stream.pass(Buffer.alloc(64 * 1024))
      return opened
    })
    pair.pump()
    expect(streams.filter(({ sink }) => !sink.events.includes('accept')).length).to.equal(0)
    const readers = sinks.filter(({ consumes }) => consumes)
    expect(readers.every(({ received }) => received.length === 64 * 1024)).to.equal(true)
  })

  it('of the budget are shares, so that growth is refused before newcomers are', () => {
    const whole = new ByteBudget(1000)
    const part = new ByteBudget(500, whole)
    expect(part.reserve(251, BUDGET_SHARE.growth)).to.equal(false)
    expect(part.reserve(250, BUDGET_SHARE.growth)).to.equal(true)
    expect(part.reserve(251)).to.equal(false)
    expect(whole.reserve(750)).to.equal(true)
    expect(part.reserve(1)).to.equal(false)
    part.release(250)
    expect([part.reservedBytes, whole.reservedBytes]).to.deep.equal([0, 750])
  })

  it('of the budget hold for a message that is gathered, and are given back', () => {
    const budget = new ByteBudget(100_000)
    const collector = new BodyCollector(new SessionWindow(DEFAULT_MUX_LIMITS, budget), 1 << 20)
    for (let i = 0; i < 60; i++) collector.add(Buffer.alloc(1000))
    codeOf(() => {
      for (let i = 0; i < 60; i++) collector.add(Buffer.alloc(1000))
    }, 'BUDGET_EXHAUSTED')
    collector.drop()
    expect(budget.reservedBytes).to.equal(0)
  })
})
