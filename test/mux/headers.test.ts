import { expect } from 'chai'
import { FRAME } from '../../src/wire/frame.ts'
import { FrameDecoder } from '../../src/wire/frame-decoder.ts'
import { FrameWriter } from '../../src/wire/frame-writer.ts'
import { writeHello } from '../../src/wire/hello.ts'
import { answer, MuxPair, MuxSide } from '../support/mux-pair.ts'
import { RecordingSink } from '../support/recording-sink.ts'

/** Writes down what an answer begins with, too. */
class HeadedSink extends RecordingSink {
  onHeaders(_stream: unknown, bytes: Buffer, start: number, end: number): void {
    this.events.push(`headers ${bytes.toString('latin1', start, end)}`)
  }
}

const block = Buffer.from('block')

function frame(type: number, id: number, payload: Buffer): Buffer {
  const writer = new FrameWriter()
  writer.begin(type, 0, id)
  writer.bytes(payload)
  writer.end()
  return writer.take()
}

describe('metadata that an answer begins with', () => {
  it('comes before a trailer that is the whole answer', () => {
    const pair = new MuxPair()
    pair.acceptor.onOpen = ({ stream }) => {
      stream.writeHeaders(block, 0, block.length)
      answer(stream, 'pong')
    }
    const { sink } = pair.dialer.open('ping', { isEnded: true, sink: new HeadedSink() })
    pair.pump()
    expect(sink.events).to.deep.equal(['headers block', 'trailer pong'])
  })

  it('comes before data that was queued after it, however much', () => {
    const pair = new MuxPair()
    pair.acceptor.onOpen = ({ stream }) => {
      stream.accept(new RecordingSink())
      stream.writeHeaders(block, 0, block.length)
      stream.write(Buffer.alloc(100_000))
      answer(stream, 'done')
    }
    const { sink } = pair.dialer.open('ping', { isEnded: true, sink: new HeadedSink() })
    pair.pump()
    expect(sink.events).to.deep.equal(['accept', 'headers block', 'trailer done'])
    expect(sink.received.length).to.equal(100_000)
  })

  it('is not sent to a peer whose hello does not ask for it', () => {
    const side = new MuxSide('acceptor')
    const writer = new FrameWriter()
    const credit = { streamsMax: 10, sessionCredit: 1000, streamCredit: 1000 }
    writeHello(writer, { versionMin: 1, versionMax: 1, features: 3n, ...credit })
    side.onOpen = ({ stream }) => {
      stream.writeHeaders(block, 0, block.length)
      answer(stream, 'pong')
    }
    side.session.receive(writer.take(), 0)
    side.session.receive(Buffer.from('100100040000000100000000', 'hex'), 0)
    const types: number[] = []
    new FrameDecoder().push(side.take(), (type, _flags, id) => {
      if (id === 1) types.push(type)
    })
    expect(types).to.deep.equal([FRAME.TRAILER])
  })

  for (const [meaning, frames] of [
    ['twice', [frame(FRAME.HEADERS, 1, block), frame(FRAME.HEADERS, 1, block)]],
    [
      'after data',
      [
        frame(FRAME.ACCEPT, 1, Buffer.alloc(8)),
        frame(FRAME.DATA, 1, block),
        frame(FRAME.HEADERS, 1, block),
      ],
    ],
    ['after the end', [frame(FRAME.TRAILER, 1, block), frame(FRAME.HEADERS, 1, block)]],
  ] as const)
    it(`ends the session where it comes ${meaning}`, () => {
      const pair = new MuxPair()
      pair.dialer.open('ask', { wantsData: true })
      pair.pump()
      for (const one of frames) pair.dialer.session.receive(one, 0)
      expect(pair.dialer.closed?.code).to.equal('PROTOCOL_VIOLATION')
    })

  it('is late, and nothing more, where the stream was reset meanwhile', () => {
    const pair = new MuxPair()
    const { stream } = pair.dialer.open('ask')
    pair.pump()
    stream.reset('CANCELLED')
    pair.dialer.session.receive(frame(FRAME.HEADERS, 1, block), 0)
    expect(pair.dialer.closed).to.equal(undefined)
    expect(pair.dialer.session.lateFrames).to.equal(1)
  })
})
