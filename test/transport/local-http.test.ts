import { expect } from 'chai'
import { mkdtempSync, rmSync } from 'node:fs'
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
} from 'node:http2'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LocalHttp } from '../../src/transport/local-http.ts'
import { eventually } from '../support/eventually.ts'
import { FakeClock } from '../support/fake-clock.ts'

const HEAD = 'POST /a.B/C HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'

describe('calls over a unix socket', () => {
  let folder: string
  let clock: FakeClock
  let server: LocalHttp
  let served: string[]
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-http-'))
    clock = new FakeClock()
    served = []
    server = new LocalHttp(path(), 'owner', clock, ({ path: method }) => {
      served.push(method)
      return { status: 0, http: 200, body: Buffer.from('{}'), message: '' }
    })
    await server.listen()
  })
  afterEach(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  const path = (): string => join(folder, 's')
  const dial = async (text: string): Promise<{ socket: Socket; said: () => string }> => {
    const socket = connect(path())
    let said = ''
    socket.on('data', (part: Buffer) => (said += part.toString()))
    socket.on('error', () => undefined)
    await new Promise((resolve) => socket.write(text, resolve))
    return { socket, said: () => said }
  }
  const open = (): ClientHttp2Session => {
    const session = connectHttp2('http://localhost', { createConnection: () => connect(path()) })
    session.on('error', () => undefined)
    return session
  }
  const begin = (session: ClientHttp2Session): ClientHttp2Stream => {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': '/a.B/C', 'content-type': 'application/grpc' },
    })
    stream.on('error', () => undefined)
    stream.resume()
    return stream
  }
  const call = async (session: ClientHttp2Session): Promise<void> => {
    const stream = begin(session)
    stream.end(Buffer.alloc(5))
    await new Promise((resolve) => stream.on('close', resolve))
  }
  /** Lets what was written arrive. */
  const arrive = async (): Promise<void> => {
    await call(open())
  }

  it('end where a head dribbles in, byte by byte', async () => {
    const { socket } = await dial('POST /a.B/C HT')
    await arrive()
    for (let i = 0; i < 6; i++) {
      socket.write('x')
      await arrive()
      clock.advance(10_000)
    }
    await eventually(() => socket.closed, 'it was hung up on')
  })

  it('end where a body does, sooner', async () => {
    const { socket } = await dial(`${HEAD}content-length: 10\r\n\r\n{`)
    await arrive()
    clock.advance(4000)
    socket.write(' ')
    await arrive()
    expect(socket.closed).to.equal(false)
    clock.advance(1000)
    await eventually(() => socket.closed, 'it was hung up on')
    expect(served.length).to.equal(2)
  })

  it('come one after another over a connection that lasts', async () => {
    const { socket, said } = await dial('')
    for (let i = 1; i <= 3; i++) {
      socket.write(`${HEAD}content-length: 2\r\n\r\n{}`)
      await eventually(() => said().split('HTTP/1.1 200').length === i + 1, 'it was answered')
      clock.advance(40_000)
    }
    clock.advance(20_000)
    await eventually(() => socket.closed, 'idle, it was hung up on')
  })

  it('come one after another over HTTP/2, for as long as they come', async () => {
    const session = open()
    for (let i = 0; i < 3; i++) {
      await call(session)
      clock.advance(40_000)
    }
    expect(session.closed).to.equal(false)
    clock.advance(20_000)
    await eventually(() => session.closed || session.destroyed, 'idle, it was hung up on')
  })

  it('end alone over HTTP/2 where their body does not come', async () => {
    const session = open()
    const stream = begin(session)
    stream.write(Buffer.alloc(3))
    await call(session)
    clock.advance(5000)
    await eventually(() => stream.closed, 'the stream has ended')
    await call(session)
    expect(served.length).to.equal(2)
    session.destroy()
  })
})
