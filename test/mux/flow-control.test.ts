import { expect } from 'chai'
import fc from 'fast-check'
import { ByteBudget } from '../../src/base/byte-budget.ts'
import { DEFAULT_MUX_LIMITS } from '../../src/mux/limits.ts'
import { SessionWindow, StreamWindow } from '../../src/mux/receive-window.ts'
import { answer, MuxPair } from '../support/mux-pair.ts'
import { RecordingSink } from '../support/recording-sink.ts'

const MIB = 1024 * 1024

describe('credit', () => {
  it('holds a sender to the window of a reader that does not read, and no neighbour', () => {
    const { pair, sinks, streams } = openStreams(65, 1)
    for (const stream of streams) stream.pass(Buffer.alloc(2 * MIB))
    pair.pump()
    const [neighbour, ...stalled] = sinks
    expect(neighbour!.received.length).to.equal(2 * MIB)
    for (const sink of stalled)
      expect(sink.received.length).to.equal(DEFAULT_MUX_LIMITS.windowBytesMin)
    expect(pair.acceptor.session.account.bufferedBytes).to.equal(
      64 * DEFAULT_MUX_LIMITS.windowBytesMin,
    )
  })

  it('lets a reader that reads have its data when others had stalled before it came', () => {
    const { pair, streams } = openStreams(3, 0)
    for (const stream of streams) stream.pass(Buffer.alloc(2 * MIB))
    pair.pump()
    const sink = new RecordingSink()
    pair.acceptor.onOpen = ({ stream }) => {
      stream.accept(sink)
    }
    pair.dialer.open('late', { wantsData: false }).stream.pass(Buffer.alloc(2 * MIB))
    pair.pump()
    expect(sink.received.length).to.equal(2 * MIB)
  })

  it('lets calls pass beside readers that do not read', () => {
    const { pair, streams } = openStreams(64, 0)
    for (const stream of streams) stream.pass(Buffer.alloc(2 * MIB))
    pair.pump()
    pair.acceptor.onOpen = ({ stream }) => {
      answer(stream, 'ok')
    }
    const { sink } = pair.dialer.open('call', { isEnded: true, wantsData: false })
    pair.step()
    pair.step()
    expect(sink.events).to.deep.equal(['trailer ok'])
  })

  it('never grants more than the budget of the process, and refuses a stream that it cannot serve', () => {
    const pair = new MuxPair({}, MIB)
    pair.acceptor.onOpen = ({ stream }) => {
      const sink = new RecordingSink()
      sink.consumes = false
      try {
        stream.accept(sink)
      } catch {
        // Refused for want of budget, which is what is tested.
      }
    }
    const refusals: string[] = []
    for (let i = 0; i < 100; i++) {
      const { stream, sink } = pair.dialer.open('x', { wantsData: false })
      stream.pass(Buffer.alloc(MIB))
      pair.pump()
      refusals.push(...sink.events.filter((event) => event.startsWith('refuse')))
    }
    expect(pair.acceptor.budget.reservedBytes).to.be.at.most(MIB)
    expect(pair.acceptor.session.account.bufferedBytes).to.be.at.most(MIB)
    expect(refusals.length).to.be.greaterThan(10)
    expect(new Set(refusals)).to.deep.equal(new Set(['refuse BUDGET_EXHAUSTED retry']))
  })

  it('gives everything back when streams end, however they end', () => {
    const { pair, streams } = openStreams(30, 15)
    for (const stream of streams) stream.pass(Buffer.alloc(MIB))
    pair.pump()
    streams.forEach((stream, index) => {
      if (index % 3 === 0) stream.reset('CANCELLED')
    })
    pair.acceptor.opened.forEach(({ stream }, index) => {
      if (index % 3 === 1) stream.reset('INTERNAL')
      else stream.discard()
    })
    for (let round = 0; round < 20; round++) {
      pair.pump()
      for (const { stream } of pair.acceptor.opened) stream.discard()
    }
    streams.forEach((stream, index) => {
      if (index % 3 === 2) stream.end()
    })
    pair.pump()
    pair.acceptor.opened.forEach(({ stream }) => {
      stream.discard()
      stream.end()
    })
    pair.pump()
    for (const side of [pair.dialer, pair.acceptor]) {
      expect(side.session.streamCount).to.equal(0)
      expect(side.session.account.windowsBytes).to.equal(0)
      expect(side.budget.reservedBytes).to.equal(DEFAULT_MUX_LIMITS.sessionCreditBytes)
      expect(side.session.account.bufferedBytes).to.equal(0)
    }
  })

  it('keeps the window of a stream that ended until its last byte is consumed', () => {
    const { pair, streams, sinks } = openStreams(1, 0)
    streams[0]!.write(Buffer.alloc(1000))
    streams[0]!.end()
    pair.pump()
    const far = pair.acceptor.opened[0]!.stream
    far.end()
    pair.pump()
    expect(far.isClosed).to.equal(true)
    expect(sinks[0]!.received.length).to.equal(1000)
    expect(pair.acceptor.session.account.windowsBytes).to.equal(DEFAULT_MUX_LIMITS.windowBytesMin)
    far.consume(999)
    expect(pair.acceptor.session.account.windowsBytes).to.equal(DEFAULT_MUX_LIMITS.windowBytesMin)
    far.consume(1)
    expect(pair.acceptor.session.account.windowsBytes).to.equal(0)
  })

  it('doubles a window that is used up within two round trips, up to the limit, and no other', () => {
    const session = new SessionWindow(DEFAULT_MUX_LIMITS, new ByteBudget(1 << 30))
    session.rttMinMs = 50
    const fast = new StreamWindow(0)
    fast.open(session.reserveFirst(), 0)
    for (let nowMs = 50; nowMs < 2000; nowMs += 50) fast.consume(fast.bytes, session, nowMs)
    expect(fast.bytes).to.equal(DEFAULT_MUX_LIMITS.windowBytesMax)
    const slow = new StreamWindow(0)
    slow.open(session.reserveFirst(), 0)
    for (let nowMs = 200; nowMs < 4000; nowMs += 200) slow.consume(slow.bytes, session, nowMs)
    expect(slow.bytes).to.equal(DEFAULT_MUX_LIMITS.windowBytesMin)
  })

  it('keeps its arithmetic for any order of sending, consuming and ending', () => {
    const step = fc.record({
      stream: fc.nat(3),
      bytes: fc.integer({ min: 0, max: 300_000 }),
      consume: fc.nat(300_000),
      nowMs: fc.nat(30),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const budget = new ByteBudget(4 * MIB)
        budget.reserve(DEFAULT_MUX_LIMITS.sessionCreditBytes)
        const session = new SessionWindow(DEFAULT_MUX_LIMITS, budget)
        session.rttMinMs = 10
        const streams = Array.from({ length: 4 }, () => new StreamWindow(0))
        for (const stream of streams) stream.open(session.reserveFirst(), 0)
        let nowMs = 0
        for (const { stream: index, bytes, consume, nowMs: later } of steps) {
          nowMs += later
          const stream = streams[index]!
          const sendable = Math.min(
            bytes,
            stream.limit - stream.received,
            session.limit - session.received,
          )
          // A stream with credit of its own is never held back by the session.
          expect(session.limit - session.received).to.be.at.least(
            Math.min(stream.limit - stream.received, 128 * 1024),
          )
          stream.received += sendable
          session.charge(sendable)
          const used = Math.min(consume, stream.received - stream.consumed)
          session.consumed += used
          const limitBefore = stream.limit
          stream.consume(used, session, nowMs)
          session.grant()
          expect(stream.limit).to.be.at.least(limitBefore)
          expect(stream.limit - stream.consumed).to.be.at.most(stream.bytes)
          expect(session.limit - session.consumed).to.be.at.most(
            session.windowsBytes + DEFAULT_MUX_LIMITS.sessionCreditBytes,
          )
          expect(budget.reservedBytes).to.be.at.most(budget.bytesMax)
        }
      }),
      { numRuns: 500 },
    )
  })
})

/** Streams whose first `reading` readers read and whose others do not. */
function openStreams(
  count: number,
  reading: number,
): {
  pair: MuxPair
  streams: ReturnType<MuxPair['dialer']['open']>['stream'][]
  sinks: RecordingSink[]
} {
  const pair = new MuxPair()
  const sinks: RecordingSink[] = []
  pair.acceptor.onOpen = ({ stream }) => {
    const sink = new RecordingSink()
    sink.consumes = sinks.length < reading
    sinks.push(sink)
    stream.accept(sink)
  }
  const streams = Array.from(
    { length: count },
    () => pair.dialer.open('x', { wantsData: false }).stream,
  )
  pair.pump()
  return { pair, streams, sinks }
}
