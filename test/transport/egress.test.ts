import { expect } from 'chai'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { Egress } from '../../src/transport/egress.ts'
import { rejection } from '../support/code-of.ts'

describe('the way out', () => {
  it('leaves out hosts with or without a port, in every usual form', () => {
    const noProxy = [
      'a.test:7443',
      '.b.test',
      '10.0.0.0/8',
      '[2001:db8::1]:7443',
      '::1',
      '192.0.2.1:80',
    ]
    const egress = new Egress({ proxy: 'http://proxy:3128', noProxy })
    const isDirect = (host: string, port: number) => egress.proxyFor(host, port) === undefined
    for (const [host, port] of [
      ['a.test', 7443],
      ['x.a.test', 7443],
      ['x.b.test', 1],
      ['10.1.2.3', 1],
      ['2001:db8::1', 7443],
      ['::1', 9],
      ['192.0.2.1', 80],
    ] as const)
      expect(isDirect(host, port), host).to.equal(true)
    for (const [host, port] of [
      ['a.test', 7444],
      ['c.test', 7443],
      ['2001:db8::1', 80],
      ['192.0.2.1', 81],
    ] as const)
      expect(isDirect(host, port), host).to.equal(false)
  })

  describe('through a proxy', () => {
    let server: Server
    let answer: (socket: Socket) => void
    beforeEach(async () => {
      server = createServer((socket) => {
        socket.on('error', () => undefined)
        socket.once('data', () => {
          answer(socket)
        })
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    })
    afterEach(() => {
      server.close()
    })

    const through = async (): Promise<Socket> => {
      const { port } = server.address() as AddressInfo
      const egress = new Egress({ proxy: `http://127.0.0.1:${String(port)}` })
      const target = { host: 'gw.test', port: 7443 }
      const proxy = egress.proxyFor('gw.test')
      if (proxy === undefined) throw new Error('there is a proxy')
      return await egress.through(proxy, target, AbortSignal.timeout(5000))
    }

    it('waits for the answer behind interim ones, however it is cut, and loses no byte behind it', async () => {
      const bytes =
        'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nVia: y\r\n\r\nfirst'
      answer = (socket) => {
        const step = (at: number): void => {
          socket.write(bytes.slice(at, at + 7))
          if (at + 7 < bytes.length) setImmediate(step, at + 7)
        }
        step(0)
      }
      const socket = await through()
      let text = ''
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.resume()
      for (let i = 0; i < 500 && text.length < 5; i++)
        await new Promise((resolve) => setTimeout(resolve, 5))
      expect(text).to.equal('first')
      socket.destroy()
    })

    for (const [what, bytes] of [
      ['no HTTP', 'SSH-2.0-x\r\n\r\n'],
      ['a head without end', `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(4000)}`],
      ['interim answers for ever', 'HTTP/1.1 103 x\r\n\r\n'.repeat(50)],
      ['another status', 'HTTP/1.1 403 No\r\n\r\n'],
    ] as const)
      it(`refuses ${what}`, async () => {
        answer = (socket) => socket.write(bytes)
        await rejection(through(), 'PROXY_REFUSED')
      })

    it('says that it hung up', async () => {
      answer = (socket) => socket.end()
      await rejection(through(), 'PROXY_UNREACHABLE')
    })
  })
})
