import { expect } from 'chai'
import { PosternError } from '../../src/base/errors.ts'
import { SessionEvents } from '../../src/mux/session-events.ts'
import { answer, MuxPair } from '../support/mux-pair.ts'

describe('the events of a session', () => {
  it('wait while the queue is held, and keep their order', () => {
    const told: string[] = []
    const events = new SessionEvents(({ name }) => told.push(name))
    events.push({ name: 'ready' })
    events.hold()
    events.push({ name: 'drained' })
    expect(told).to.deep.equal(['ready'])
    events.push({ name: 'closed', error: new PosternError('SHUTDOWN', 'done') })
    events.release()
    expect(told).to.deep.equal(['ready', 'drained', 'closed'])
  })

  it('that a listener causes come after it has returned, and none after the end', () => {
    const told: string[] = []
    const events = new SessionEvents(({ name }) => {
      told.push(`${name} begins`)
      if (name === 'drained')
        events.push({ name: 'closed', error: new PosternError('SHUTDOWN', 'done') })
      told.push(`${name} ends`)
    })
    events.push({ name: 'drained' })
    events.push({ name: 'drained' })
    expect(told).to.deep.equal(['drained begins', 'drained ends', 'closed begins', 'closed ends'])
  })

  it('come between two frames of one chunk: a stream that follows the hello finds its session ready', () => {
    const pair = new MuxPair({}, undefined, false)
    const hello = pair.dialer.take()
    pair.acceptor.session.receive(hello, 0)
    pair.dialer.session.receive(pair.acceptor.take(), 0)
    const late = new MuxPair({}, undefined, false)
    let wasReady: boolean | undefined
    late.acceptor.onOpen = ({ stream }) => {
      wasReady = late.acceptor.isReady
      answer(stream, 'ok')
    }
    pair.dialer.open('head', { isEnded: true, wantsData: false })
    late.acceptor.session.receive(Buffer.concat([hello, pair.dialer.take()]), 0)
    expect(wasReady).to.equal(true)
  })
})
