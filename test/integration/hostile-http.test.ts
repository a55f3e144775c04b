import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { connect as connectPlain, type Socket } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { Metrics } from '../../src/base/metrics.ts'
import { MonitorListener } from '../../src/transport/monitor-listen.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'

const HEAD = 'POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: a\r\n'

describe('a stranger at enroll.listen', function () {
  let plane: ControlPlane
  const sockets: TLSSocket[] = []
  before(async () => {
    plane = await ControlPlane.start()
  })
  after(() => {
    for (const socket of sockets) socket.destroy()
    plane.stop()
  })

  let address = 0
  /** From an address of its own, unless one is given. */
  async function open(from = `127.2.0.${String(++address)}`): Promise<TLSSocket> {
    const port = plane.addresses.enroll?.port ?? 0
    const socket = connect({
      socket: connectPlain({ host: '127.0.0.1', port, localAddress: from }),
      servername: 'localhost',
      ca: readFileSync(plane.bundleFile),
    })
    socket.on('error', () => undefined)
    sockets.push(socket)
    await new Promise<void>((resolve) => socket.once('secureConnect', resolve))
    return socket
  }

  async function answerTo(...parts: readonly string[]): Promise<string> {
    const socket = await open()
    for (const part of parts) socket.write(part)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await eventually(() => text.includes('\r\n\r\n'), 'an answer')
    return text
  }

  const basic = (token: string): string =>
    `Authorization: Basic ${Buffer.from(`x:${token}`).toString('base64')}\r\n`

  it('is refused without a byte of the body being waited for', async () => {
    const head = `${HEAD}Content-Type: application/pkcs10\r\nContent-Length: 60000\r\n`
    expect(await answerTo(`${head}\r\n`)).to.match(/^HTTP\/1\.1 401 /)
    expect(await answerTo(`${head}${basic('guess')}\r\n`)).to.match(/^HTTP\/1\.1 401 /)
  })

  it('is refused a body in chunks, of unknown coding, or over the limit, by the head alone', async () => {
    const cases = [
      ['Transfer-Encoding: chunked', 411],
      ['Transfer-Encoding: gzip, chunked', 501],
      ['Content-Length: 65537', 413],
    ] as const
    for (const [line, status] of cases) {
      const answer = await answerTo(`${HEAD}${line}\r\n\r\n`)
      expect(answer).to.match(new RegExp(`^HTTP/1.1 ${String(status)} `))
      expect(answer).to.match(/Connection: close/)
    }
  })

  it('who sends a body byte by byte is closed long before its end', async () => {
    const { token } = await plane.token()
    const socket = await open()
    socket.setNoDelay(true)
    socket.write(
      `${HEAD}Content-Type: application/pkcs10\r\nContent-Length: 60000\r\n${basic(token)}\r\n`,
    )
    let sent = 0
    while (!socket.destroyed && sent < 60_000) {
      // Each in a record of its own.
      await new Promise((resolve) => socket.write('A', resolve))
      sent++
    }
    expect(sent).to.be.lessThan(30_000)
  })

  it('who is refused again and again has used up the share of its network, and of no other', async () => {
    const from = '127.2.1.1'
    const url = 'GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n'
    let text = ''
    for (let i = 0; i < 10 && !text.includes(' 429 '); i++) {
      const socket = await Promise.race([
        open(from),
        new Promise<undefined>((resolve) => setTimeout(resolve, 500, undefined)),
      ])
      if (socket === undefined) break
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.write(url.repeat(90))
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(text.match(/ 404 /g)?.length).to.be.within(300, 700)
    expect(await answerTo(url)).to.match(/ 404 /)
  })
})

describe('the listener of metrics', function () {
  it('answers a probe at once while as many as it takes say nothing', async () => {
    const state = () => ({ isReady: true, isAlive: true, text: 'fine' })
    const address = { host: '127.0.0.1', port: 0 }
    const monitor = new MonitorListener(address, {
      metrics: new Metrics([], () => Promise.resolve([])),
      setting: 'metrics.listen',
      state,
    })
    const { port } = await monitor.listen()
    const idle: Socket[] = []
    for (let i = 0; i < 80; i++) {
      const socket = connectPlain(port, '127.0.0.1')
      socket.on('error', () => undefined)
      idle.push(socket)
    }
    const beganAtMs = Date.now()
    const answer = await fetch(`http://127.0.0.1:${String(port)}/livez`)
    expect(answer.status).to.equal(200)
    // Fifty seconds were what it took; the bound is far from what a busy machine needs.
    expect(Date.now() - beganAtMs).to.be.lessThan(40_000)
    for (const socket of idle) socket.destroy()
    monitor.close()
  })
})
