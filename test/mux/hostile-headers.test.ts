import { expect } from 'chai'
import { MuxPair } from '../support/mux-pair.ts'
import { RecordingSink } from '../support/recording-sink.ts'

describe('an agent that begins an answer and then refuses the call', () => {
  it('ends its own session, and nobody else is told of two beginnings', () => {
    const pair = new MuxPair()
    const { sink } = pair.dialer.open('ask', { isEnded: true, sink: new RecordingSink() })
    pair.pump()
    // HEADERS, then REFUSE with STREAM_LIMIT and retry: a peer of ours would send them the other way round.
    for (const frame of ['170000010000000161', '1200000300000001001201'])
      pair.dialer.session.receive(Buffer.from(frame, 'hex'), 0)
    expect(pair.dialer.closed?.code).to.equal('PROTOCOL_VIOLATION')
    expect(sink.events).to.deep.equal(['reset CONNECTION_LOST'])
  })

  it('whose second beginning is passed on to nobody', () => {
    const pair = new MuxPair()
    pair.acceptor.onOpen = ({ stream }) => {
      stream.writeHeaders(Buffer.from('a'), 0, 1)
      stream.writeHeaders(Buffer.from('b'), 0, 1)
      stream.accept(new RecordingSink())
      stream.end()
    }
    const { sink } = pair.dialer.open('ask', { isEnded: true, sink: new RecordingSink() })
    pair.pump()
    expect(pair.dialer.closed).to.equal(undefined)
    expect(sink.events).to.deep.equal(['accept', 'end'])
  })
})
