import { noteText } from '../support/seen.ts'
import { expect } from 'chai'
import { ByteBudget } from '../../src/base/byte-budget.ts'
import { PosternError } from '../../src/base/errors.ts'
import { DEFAULT_MUX_LIMITS } from '../../src/mux/limits.ts'
import { Connection } from '../../src/tunnel/connection.ts'
import { SlabPool } from '../../src/tunnel/slab-pool.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { RecordingSink } from '../support/recording-sink.ts'

/** A wire that hands every write to `onWrite`, and says it is written when told to. */
class HeldWire {
  readonly written: (() => void)[] = []
  isEnded = false
  isDestroyed = false
  onWrite: (bytes: Buffer) => void = () => undefined
  holds = false

  write(bytes: Uint8Array, onWritten: () => void): void {
    this.onWrite(Buffer.from(bytes))
    if (this.holds) this.written.push(onWritten)
    else onWritten()
  }

  end(): void {
    this.isEnded = true
  }

  destroy(): void {
    this.isDestroyed = true
  }
}

describe('Connection', () => {
  function setUp() {
    const clock = new FakeClock()
    const sides = (['dialer', 'acceptor'] as const).map((role) => {
      const wire = new HeldWire()
      const sink = new RecordingSink()
      const closed: PosternError[] = []
      const connection = new Connection(
        {
          role,
          wire,
          limits: DEFAULT_MUX_LIMITS,
          budget: new ByteBudget(1 << 30),
          clock,
          slabs: new SlabPool(),
          streams: {
            open: ({ stream }) => {
              stream.accept(sink)
            },
          },
        },
        {
          onEvent: (event) => {
            if (event.name !== 'closed') return
            noteText(event.error.code)
            closed.push(event.error)
          },
        },
      )
      return { wire, sink, closed, connection }
    })
    const [near, far] = sides as [(typeof sides)[0], (typeof sides)[0]]
    near.wire.onWrite = (bytes) => {
      clock.soon(() => {
        far.connection.receive(bytes)
      })
    }
    far.wire.onWrite = (bytes) => {
      clock.soon(() => {
        near.connection.receive(bytes)
      })
    }
    near.connection.start()
    far.connection.start()
    clock.advance(1)
    return { clock, near, far }
  }

  it('goes on pinging while all data waits for credit', () => {
    const { clock, near, far } = setUp()
    far.sink.consumes = false
    const { session } = near.connection
    for (let i = 0; i < 8; i++) {
      const stream = session.beginOpen(new RecordingSink(), false, false)
      session.endOpen()
      stream.write(Buffer.alloc(2 << 20))
    }
    clock.advance(60_000)
    expect([near.closed, far.closed]).to.deep.equal([[], []])
    expect(session.rttMs).to.be.a('number')
  })

  it('batches what is sent in one tick into one write', () => {
    const { clock, near } = setUp()
    let writes = 0
    near.wire.onWrite = () => {
      writes++
    }
    for (let i = 0; i < 50; i++) {
      near.connection.session.beginOpen(new RecordingSink(), true, false)
      near.connection.session.endOpen()
    }
    clock.advance(0)
    expect(writes).to.equal(1)
  })

  it('ends a session whose peer takes no bytes for the silence deadline, though it sends some', () => {
    const { clock, near, far } = setUp()
    near.wire.holds = true
    near.wire.onWrite = () => undefined
    for (let i = 0; i < 5; i++) {
      clock.advance(9000)
      far.connection.session.handleTimeout(clock.nowMs())
    }
    expect(near.closed.map(({ code }) => code)).to.deep.equal(['WRITE_STALLED'])
    clock.advance(2000)
    expect(near.wire.isDestroyed).to.equal(true)
  })

  it('does not hand the wire more than it takes', () => {
    const { clock, near, far } = setUp()
    near.wire.holds = true
    const stream = near.connection.session.beginOpen(new RecordingSink(), false, false)
    near.connection.session.endOpen()
    clock.advance(1)
    for (const written of near.wire.written.splice(0)) written()
    stream.write(Buffer.alloc(8 << 20))
    clock.advance(1)
    expect(near.connection.inFlightBytes).to.be.at.most(384 * 1024)
    for (let round = 0; round < 500; round++) {
      for (const written of near.wire.written.splice(0)) written()
      clock.advance(1)
    }
    expect(far.sink.received.length).to.equal(8 << 20)
  })

  it('writes the reason of its end, then closes the wire', () => {
    const { clock, near, far } = setUp()
    const heard: string[] = []
    const toFar = near.wire.onWrite
    near.wire.onWrite = (bytes) => {
      heard.push(near.wire.isEnded ? 'late' : bytes.toString('latin1'))
      toFar(bytes)
    }
    near.connection.session.close(new PosternError('SHUTDOWN', 'we are done here'))
    expect(near.wire.isEnded).to.equal(false)
    clock.advance(1)
    expect(heard.length).to.equal(1)
    expect(heard[0]).to.contain('we are done here')
    expect(near.wire.isEnded).to.equal(true)
    expect(near.closed.map(({ code }) => code)).to.deep.equal(['SHUTDOWN'])
    near.connection.wireClosed(new PosternError('CONNECTION_LOST', 'gone'))
    far.connection.wireClosed(new PosternError('CONNECTION_LOST', 'gone'))
    expect(near.closed.length).to.equal(1)
    expect(clock.timerCount).to.equal(0)
  })
})
