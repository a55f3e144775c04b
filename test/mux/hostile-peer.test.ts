import { expect } from 'chai'
import fc from 'fast-check'
import { FLAG_END, FRAME } from '../../src/wire/frame.ts'
import { FrameWriter } from '../../src/wire/frame-writer.ts'
import { writeHello } from '../../src/wire/hello.ts'
import { MuxSide } from '../support/mux-pair.ts'
import { RecordingSink } from '../support/recording-sink.ts'

const HELLO = {
  versionMin: 1,
  versionMax: 1,
  features: 0n,
  streamsMax: 100,
  sessionCredit: 1 << 20,
  streamCredit: 16_384,
}

describe('a hostile peer', function () {
  this.timeout(0)
  const u16 = (value: number) => (w: FrameWriter) => {
    w.u16(value)
  }
  const u64 = (value: number) => (w: FrameWriter) => {
    w.u64(value)
  }
  const open = (w: FrameWriter): void => {
    w.u32(0)
  }
  const bytes = (count: number) => (w: FrameWriter) => {
    w.bytes(Buffer.alloc(count))
  }

  it('that does not begin with HELLO is cut off', () => {
    const { side, send } = setUp(false)
    send(FRAME.PING, 0, 0, u64(1))
    expect(side.closed?.code).to.equal('PROTOCOL_VIOLATION')
  })

  it('that speaks another version is told both ranges', () => {
    const side = new MuxSide('acceptor')
    const writer = new FrameWriter()
    writeHello(writer, { ...HELLO, versionMin: 7, versionMax: 8 })
    side.session.receive(writer.take(), 0)
    expect(side.closed?.code).to.equal('VERSION_UNSUPPORTED')
    expect(side.take().toString('latin1')).to.include(
      'we speak protocol version 1 to 1, the peer 7 to 8',
    )
  })

  const violations: readonly (readonly [
    string,
    readonly (readonly [number, number, number, (w: FrameWriter) => void])[],
  ])[] = [
    [
      'a second HELLO',
      [
        [
          FRAME.HELLO,
          0,
          0,
          (w) => {
            w.bytes(Buffer.from('5053544e000100010000000000000000000000640000000a0000000a', 'hex'))
          },
        ],
      ],
    ],
    ['OPEN with an id of our own parity', [[FRAME.OPEN, 0, 2, open]]],
    [
      'OPEN with an id used before',
      [
        [FRAME.OPEN, 0, 5, open],
        [FRAME.OPEN, 0, 5, open],
      ],
    ],
    [
      'OPEN with an id below the last',
      [
        [FRAME.OPEN, 0, 5, open],
        [FRAME.OPEN, 0, 3, open],
      ],
    ],
    ['DATA for a stream never opened', [[FRAME.DATA, 0, 9, bytes(1)]]],
    [
      'a TRAILER from the opener',
      [
        [FRAME.OPEN, 0, 1, open],
        [FRAME.TRAILER, 0, 1, bytes(1)],
      ],
    ],
    [
      'an ACCEPT from the opener',
      [
        [FRAME.OPEN, 0, 1, open],
        [FRAME.ACCEPT, 0, 1, u64(1)],
      ],
    ],
    [
      'a REFUSE from the opener',
      [
        [FRAME.OPEN, 0, 1, open],
        [
          FRAME.REFUSE,
          0,
          1,
          (w) => {
            w.u16(1)
            w.u8(0)
          },
        ],
      ],
    ],
    [
      'DATA after END',
      [
        [FRAME.OPEN, FLAG_END, 1, open],
        [FRAME.DATA, 0, 1, bytes(1)],
      ],
    ],
    [
      'PING on a stream',
      [
        [FRAME.OPEN, 0, 1, open],
        [FRAME.PING, 0, 1, u64(1)],
      ],
    ],
    ['RESET on the session', [[FRAME.RESET, 0, 0, u16(1)]]],
    ['OPEN on the session', [[FRAME.OPEN, 0, 0, open]]],
    [
      'a limit over 2^53',
      [
        [
          FRAME.WINDOW,
          0,
          0,
          (w) => {
            w.u32(0xffff_ffff)
            w.u32(0)
          },
        ],
      ],
    ],
    [
      'a GOAWAY that ends early',
      [
        [
          FRAME.GOAWAY,
          0,
          0,
          (w) => {
            w.bytes(Buffer.alloc(10))
            w.u8(200)
            w.u8(0)
          },
        ],
      ],
    ],
  ]
  for (const [what, frames] of violations) {
    it(`that sends ${what} is cut off with PROTOCOL_VIOLATION`, () => {
      const { side, send } = setUp()
      for (const [type, flags, id, write] of frames) send(type, flags, id, write)
      expect(side.closed?.code).to.equal('PROTOCOL_VIOLATION')
    })
  }

  it('that sends more than the stream or the session was granted is cut off', () => {
    const { side, send } = setUp()
    send(FRAME.OPEN, 0, 1, open)
    send(FRAME.DATA, 0, 1, bytes(16_376))
    expect(side.closed).to.equal(undefined)
    send(FRAME.DATA, 0, 1, bytes(16_376))
    expect(side.closed?.code).to.equal('FLOW_CONTROL_VIOLATION')
    const other = setUp()
    for (let id = 1; id < 63 && other.side.closed === undefined; id += 2) {
      other.send(FRAME.OPEN, 0, id, open)
      other.send(FRAME.DATA, 0, id, bytes(16_000))
    }
    expect(other.side.closed?.code).to.equal('FLOW_CONTROL_VIOLATION')
  })

  it('that answers one stream twice, or sends data before accepting, is cut off', () => {
    for (const frames of [
      [FRAME.ACCEPT, FRAME.ACCEPT],
      [FRAME.ACCEPT, FRAME.REFUSE],
      [FRAME.DATA],
    ]) {
      const { side, send } = setUp()
      side.session.beginOpen(new RecordingSink(), false, true)
      side.session.endOpen()
      for (const type of frames) send(type, 0, 2, type === FRAME.REFUSE ? bytes(3) : bytes(8))
      expect(side.closed?.code).to.equal('PROTOCOL_VIOLATION')
    }
  })

  const floods: readonly (readonly [string, number, (send: Send) => void])[] = [
    [
      'pings',
      200,
      (send) => {
        send(FRAME.PING, 0, 0, u64(1))
      },
    ],
    [
      'pongs that nobody asked for',
      30_000,
      (send) => {
        send(FRAME.PONG, 0, 0, u64(1))
      },
    ],
    [
      'limits that are no news',
      30_000,
      (send) => {
        send(FRAME.WINDOW, 0, 0, u64(1))
      },
    ],
    [
      'extension frames',
      30_000,
      (send) => {
        send(0x90, 0, 0, bytes(0))
      },
    ],
    [
      'empty data',
      30_000,
      (send) => {
        send(FRAME.DATA, 0, 1, bytes(0))
      },
    ],
  ]
  for (const [what, count, act] of floods) {
    it(`that floods with ${what} is cut off with FLOOD`, () => {
      const { side, send } = setUp()
      send(FRAME.OPEN, 0, 1, open)
      for (let i = 0; i < count && side.closed === undefined; i++) act(send)
      expect(side.closed?.code).to.equal('FLOOD')
    })
  }

  it('that opens and resets streams all the time is cut off, but not for cancelling all its calls at once', () => {
    const { side, send } = setUp()
    let count = 0
    for (let id = 1; side.closed === undefined && count < 20_000; id += 2, count++) {
      send(FRAME.OPEN, 0, id, open)
      send(FRAME.RESET, 0, id, u16(16))
      side.take()
    }
    expect(side.closed?.code).to.equal('FLOOD')
    expect(count).to.be.greaterThan(8192)
  })

  it('that sends frames for closed streams without end is cut off', () => {
    const { side, send } = setUp()
    send(FRAME.OPEN, 0, 1, open)
    send(FRAME.RESET, 0, 1, u16(16))
    for (let i = 0; i < 30_000 && side.closed === undefined; i++) send(FRAME.STOP, 0, 1, u16(16))
    expect(side.closed?.code).to.equal('FLOOD')
  })

  it('that never reads its answers is cut off before they pile up', () => {
    const { side, send } = setUp(true, 1_000_000)
    for (let id = 1; id < 200_000 && side.closed === undefined; id += 2)
      send(FRAME.OPEN, 0, id, open)
    // Streams beyond the limit are refused, and the refusals are bounded too.
    expect(side.closed?.code).to.equal('FLOOD')
  })

  it('that sends anything at all provokes nothing but our own codes', () => {
    const frame = fc.record({
      type: fc.constantFrom(...Object.values(FRAME), 0x80, 7),
      flags: fc.nat(3),
      id: fc.nat(6),
      size: fc.nat(40),
    })
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 40 }),
        fc.infiniteStream(fc.nat(255)),
        (frames, random) => {
          const { side, send } = setUp()
          side.onOpen = ({ stream, isEnded }) => {
            if (!isEnded) stream.accept(new RecordingSink())
          }
          side.session.beginOpen(new RecordingSink(), false, true)
          side.session.endOpen()
          for (const { type, flags, id, size } of frames) {
            const payload = Buffer.from(
              Array.from({ length: size }, () => Number(random.next().value)),
            )
            send(type, flags, id, (w) => {
              w.bytes(payload)
            })
          }
          expect(side.budget.reservedBytes).to.be.at.least(0)
        },
      ),
      { numRuns: 3000 },
    )
  })
})

type Send = (type: number, flags: number, id: number, write: (writer: FrameWriter) => void) => void

/** An acceptor, and a way to send it single frames. */
function setUp(withHello = true, streamsMax = 4096): { side: MuxSide; send: Send } {
  const side = new MuxSide('acceptor', { streamsMax: Math.min(streamsMax, 4096) })
  const writer = new FrameWriter()
  if (withHello) {
    writeHello(writer, HELLO)
    side.session.receive(writer.take(), 0)
  }
  const send: Send = (type, flags, id, write) => {
    writer.begin(type, flags, id)
    write(writer)
    writer.end()
    side.session.receive(writer.take(), 0)
  }
  return { side, send }
}
