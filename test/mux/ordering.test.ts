import { expect } from 'chai'
import { FRAME } from '../../src/wire/frame.ts'
import { FrameDecoder } from '../../src/wire/frame-decoder.ts'
import { MuxPair } from '../support/mux-pair.ts'
import { RecordingSink } from '../support/recording-sink.ts'

describe('the order of frames', () => {
  it('lets no RESET or STOP overtake the OPEN of its stream', () => {
    for (const act of ['reset', 'stop'] as const) {
      const pair = new MuxPair()
      const { stream } = pair.dialer.open('head')
      stream[act]('CANCELLED')
      pair.pump()
      expect(pair.acceptor.opened.length).to.equal(1)
      expect([pair.dialer.closed, pair.acceptor.closed]).to.deep.equal([undefined, undefined])
    }
  })

  it('answers STOP on a stream that was not taken yet with RESET, never with data', () => {
    const pair = new MuxPair()
    const { stream, sink } = pair.dialer.open('head')
    pair.pump()
    stream.stop('CANCELLED')
    pair.pump()
    expect(sink.events).to.deep.equal(['reset CANCELLED'])
    const answered = pair.acceptor.opened[0]!.stream
    expect(answered.isClosed).to.equal(true)
    answered.accept(new RecordingSink())
    pair.pump()
    expect([pair.dialer.closed, pair.acceptor.closed]).to.deep.equal([undefined, undefined])
  })

  it('announces no limit that is no news, however early data is used', () => {
    const pair = new MuxPair()
    pair.acceptor.onOpen = ({ stream }) => {
      // As a relay does: data is taken before the stream is.
      stream.sink = new RecordingSink()
    }
    const { stream } = pair.dialer.open('head')
    stream.write(Buffer.alloc(16_384))
    const up = pair.dialer.take()
    pair.acceptor.session.receive(up, 0)
    const windows: number[] = []
    new FrameDecoder().push(pair.acceptor.take(), (type, _flags, id) => {
      if (type === FRAME.WINDOW && id !== 0) windows.push(id)
    })
    expect(windows).to.deep.equal([])
  })
})
