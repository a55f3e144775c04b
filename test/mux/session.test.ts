import { expect } from 'chai'
import { PosternError } from '../../src/base/errors.ts'
import { answer, MuxPair, MuxSide } from '../support/mux-pair.ts'
import { RecordingSink } from '../support/recording-sink.ts'

describe('MuxSession', () => {
  it('answers a unary call with one frame each way and keeps nothing', () => {
    const { pair, dialer, acceptor } = setUp()
    acceptor.onOpen = ({ stream, head, isEnded }) => {
      expect(isEnded).to.equal(true)
      answer(stream, `re: ${head.toString()}`)
    }
    const { sink } = dialer.open('hello', { isEnded: true, wantsData: false })
    pair.pump()
    expect(sink.events).to.deep.equal(['trailer re: hello'])
    expect([dialer.session.streamCount, acceptor.session.streamCount]).to.deep.equal([0, 0])
  })

  it('lets both sides open streams, with odd and even ids', () => {
    const { pair, dialer, acceptor } = setUp()
    expect(dialer.open('a').stream.id).to.equal(1)
    expect(acceptor.open('b').stream.id).to.equal(2)
    pair.pump()
    expect(acceptor.opened.map(({ head }) => head.toString())).to.deep.equal(['a'])
    expect(dialer.opened.map(({ head }) => head.toString())).to.deep.equal(['b'])
  })

  it('half-closes each direction on its own', () => {
    const { pair, near, far, nearSink, farSink } = accepted()
    near.write(Buffer.from('ping'))
    near.end()
    pair.pump()
    expect(farSink.received.toString()).to.equal('ping')
    expect(farSink.events).to.deep.equal(['end'])
    far.write(Buffer.from('pong'))
    pair.pump()
    expect(nearSink.received.toString()).to.equal('pong')
    far.end()
    pair.pump()
    expect(nearSink.events).to.deep.equal(['accept', 'end'])
    expect([near.isClosed, far.isClosed]).to.deep.equal([true, true])
  })

  it('sends early data with the open, up to the stream credit, and the rest once accepted', () => {
    const { pair, dialer, acceptor } = setUp()
    const { stream } = dialer.open('up')
    stream.write(Buffer.alloc(100_000, 7))
    stream.end()
    pair.pump()
    const { stream: far } = acceptor.opened[0]!
    const farSink = new RecordingSink()
    expect(acceptor.session.account.received).to.equal(16 * 1024)
    far.accept(farSink)
    pair.pump()
    expect(farSink.received.length).to.equal(100_000)
    expect(farSink.events).to.deep.equal(['end'])
  })

  it('delivers everything that was sent before an accept, the end included', () => {
    const { pair, dialer, acceptor } = setUp()
    const { stream } = dialer.open('up')
    stream.write(Buffer.from('early'))
    stream.end()
    pair.pump()
    const farSink = new RecordingSink()
    acceptor.opened[0]!.stream.accept(farSink)
    expect(farSink.received.toString()).to.equal('early')
    expect(farSink.events).to.deep.equal(['end'])
  })

  it('ends both directions at a reset, with its code', () => {
    const { pair, near, far, nearSink } = accepted()
    far.write(Buffer.alloc(500_000))
    far.reset('CANCELLED')
    pair.pump()
    expect(nearSink.events.at(-1)).to.equal('reset CANCELLED')
    expect(near.isClosed).to.equal(true)
  })

  it('drops what is queued when the peer stops reading, and ends that direction', () => {
    const { pair, near, far, nearSink, farSink } = accepted()
    farSink.consumes = false
    near.write(Buffer.alloc(2_000_000))
    pair.pump()
    far.stop('CANCELLED')
    pair.pump()
    expect(nearSink.events).to.include('stop CANCELLED')
    expect(farSink.events).to.include('end')
    expect(near.write(Buffer.from('more'))).to.equal(true)
  })

  it('refuses with a code, the retry bit and a text', () => {
    const { pair, dialer, acceptor } = setUp()
    acceptor.onOpen = ({ stream }) => {
      stream.refuse('POLICY_DENIED', false, 'no')
    }
    const { sink } = dialer.open('x')
    pair.pump()
    expect(sink.events).to.deep.equal(['refuse POLICY_DENIED no'])
  })

  it('counts and ignores frames for streams that are over', () => {
    const { pair, near, far } = accepted()
    far.reset('CANCELLED')
    near.write(Buffer.from('late'))
    near.end()
    pair.pump()
    expect(pair.acceptor.session.lateFrames).to.be.greaterThan(0)
    expect(pair.acceptor.closed).to.equal(undefined)
  })

  it('holds queued data back behind a trailer, and the trailer behind the data', () => {
    const { pair, dialer, acceptor } = setUp()
    acceptor.onOpen = ({ stream }) => {
      stream.accept(new RecordingSink())
      stream.write(Buffer.alloc(1_000_000, 1))
      answer(stream, 'done')
    }
    const { sink } = dialer.open('down', { isEnded: true })
    pair.pump()
    expect(sink.received.length).to.equal(1_000_000)
    expect(sink.events).to.deep.equal(['accept', 'trailer done'])
  })

  it('opens a window for the data of a unary answer only once it is accepted', () => {
    const { pair, dialer, acceptor } = setUp()
    acceptor.onOpen = ({ stream }) => {
      stream.accept(new RecordingSink())
      stream.write(Buffer.alloc(400_000))
      answer(stream, 'ok')
    }
    const { sink } = dialer.open('x', { isEnded: true, wantsData: false })
    expect(dialer.session.account.windowsBytes).to.equal(0)
    pair.pump()
    expect(sink.received.length).to.equal(400_000)
    expect(dialer.session.account.windowsBytes).to.equal(0)
  })

  describe('going away', () => {
    it('finishes what runs, refuses what comes, and tells when drained', () => {
      const { pair, dialer, acceptor } = setUp()
      const running = dialer.open('running', { isEnded: true, wantsData: false })
      pair.pump()
      acceptor.session.goAway('GOING_AWAY', 'upgrade', {
        reconnectAfterMs: 500,
        alternates: ['gw-2:7443'],
      })
      const crossing = dialer.open('crossing', { isEnded: true, wantsData: false })
      pair.pump()
      expect(crossing.sink.events).to.deep.equal(['refuse GOING_AWAY retry upgrade'])
      expect(dialer.goAways[0]).to.deep.include({
        lastId: 1,
        code: 'GOING_AWAY',
        reconnectAfterMs: 500,
        alternates: ['gw-2:7443'],
      })
      expect(() => dialer.open('late'))
        .to.throw(PosternError)
        .with.property('code', 'GOING_AWAY')
      expect(acceptor.drainedCount).to.equal(0)
      answer(acceptor.opened[0]!.stream, 'done')
      pair.pump()
      expect(running.sink.events).to.deep.equal(['trailer done'])
      expect(acceptor.drainedCount).to.equal(1)
    })

    it('tells every stream when the session is lost', () => {
      const { pair, nearSink } = accepted()
      pair.dialer.session.lose(new PosternError('CONNECTION_LOST', 'gone'))
      expect(nearSink.events.at(-1)).to.equal('reset CONNECTION_LOST')
      expect(pair.dialer.budget.reservedBytes).to.equal(0)
    })
  })

  describe('liveness', () => {
    it('measures the round trip at once and then at each interval', () => {
      const dialer = new MuxSide('dialer')
      const acceptor = new MuxSide('acceptor')
      dialer.session.receive(acceptor.take(), 0)
      acceptor.session.receive(dialer.take(), 20)
      // Several at the start, as the first ones run through cold code.
      for (let nowMs = 40; nowMs < 400; nowMs += 40) {
        dialer.session.receive(acceptor.take(), nowMs)
        acceptor.session.receive(dialer.take(), nowMs + 20)
      }
      expect(dialer.session.rttMs).to.equal(40)
      const nextAtMs = dialer.session.nextTimeoutMs
      expect(nextAtMs).to.be.within(10_000, 10_300)
      dialer.session.handleTimeout(nextAtMs - 1)
      expect(dialer.take().length).to.equal(0)
      dialer.session.handleTimeout(nextAtMs)
      expect(dialer.take().length).to.equal(16)
    })

    it('ends a session whose peer is silent for the deadline', () => {
      const { dialer } = setUp()
      dialer.session.handleTimeout(19_999)
      expect(dialer.closed).to.equal(undefined)
      dialer.session.handleTimeout(20_000)
      expect(dialer.closed?.code).to.equal('PEER_SILENT')
    })
  })
})

function setUp(): { pair: MuxPair; dialer: MuxPair['dialer']; acceptor: MuxPair['acceptor'] } {
  const pair = new MuxPair()
  expect([pair.dialer.isReady, pair.acceptor.isReady]).to.deep.equal([true, true])
  return { pair, dialer: pair.dialer, acceptor: pair.acceptor }
}

function accepted(): {
  pair: MuxPair
  near: import('../../src/mux/stream.ts').MuxStream
  far: import('../../src/mux/stream.ts').MuxStream
  nearSink: RecordingSink
  farSink: RecordingSink
} {
  const pair = new MuxPair()
  const farSink = new RecordingSink()
  pair.acceptor.onOpen = ({ stream }) => {
    stream.accept(farSink)
  }
  const { stream: near, sink: nearSink } = pair.dialer.open('stream')
  pair.pump()
  return { pair, near, far: pair.acceptor.opened[0]!.stream, nearSink, farSink }
}
