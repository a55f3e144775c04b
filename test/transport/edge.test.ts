import { expect } from 'chai'
import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import type { PosternError } from '../../src/base/errors.ts'
import { on, once, onFault, total } from '../../src/transport/edge.ts'

describe('the edge', () => {
  let faults: PosternError[]
  let stop: () => void
  beforeEach(() => {
    faults = []
    stop = onFault((fault) => faults.push(fault))
  })
  afterEach(() => {
    stop()
  })

  const fail = (): never => {
    throw new TypeError('of undefined')
  }

  it('turns a throw of a handler into a destroyed socket and one INTERNAL error', async () => {
    const socket = new PassThrough()
    on(socket, 'data', fail)
    socket.write('x')
    await new Promise((resolve) => socket.once('close', resolve))
    expect(faults.map(({ code }) => code)).to.deep.equal(['INTERNAL'])
    expect(faults[0]?.rawMessage).to.include('of undefined')
  })

  it('destroys what a server hands out, and not the server', () => {
    const server = new EventEmitter()
    const socket = new PassThrough()
    once(server, 'connection', fail)
    server.emit('connection', socket)
    expect(socket.destroyed).to.equal(true)
    expect(faults).to.have.length(1)
  })

  it('answers in place of a callback that throws', () => {
    expect(total(fail, ({ code }) => code)()).to.equal('INTERNAL')
  })
})
