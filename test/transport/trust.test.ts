import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { askBackend } from '../../src/transport/ask-backend.ts'
import { askGrpc } from '../../src/transport/ask-grpc.ts'
import { getHttps } from '../../src/transport/https-get.ts'
import { secureTarget } from '../../src/transport/target-tls.ts'
import { rejection } from '../support/code-of.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, TestPki } from '../support/pki.ts'

/** Nobody is asked on behalf of files that hold no root: Node would take those of the system. */
describe('trust in roots of the customer', () => {
  let server: Server
  const sockets = new Set<Socket>()
  const bytes: Buffer[] = []
  beforeEach(async () => {
    bytes.length = 0
    server = createServer((socket) => {
      sockets.add(socket)
      socket.on('data', (part: Buffer) => bytes.push(part))
      socket.on('error', () => undefined)
      socket.on('close', () => sockets.delete(socket))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterEach(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const port = (): number => (server.address() as AddressInfo).port
  const url = (): URL => new URL(`https://127.0.0.1:${String(port())}/a.b.C/D`)
  const signal = new AbortController().signal
  const dial = async (): Promise<Socket> =>
    await new Promise((resolve) => {
      const socket = connect(port(), '127.0.0.1', () => {
        resolve(socket)
      })
    })
  const target = (): { host: string; port: number } => ({ host: '127.0.0.1', port: port() })
  const grpc = { body: Buffer.alloc(0), bytesMax: 100, msMax: 5000, signal }

  for (const [what, caPem] of [
    ['nothing', ''],
    ['no certificate', '# to come\n'],
  ] as const) {
    it(`is none where their file holds ${what}, and no handshake begins`, async () => {
      await rejection(askBackend({ url: url(), method: 'GET', caPem }), 'BACKEND_UNREACHABLE')
      await rejection(askGrpc({ ...grpc, url: url(), caPem }), 'BACKEND_UNREACHABLE')
      await rejection(getHttps(url(), caPem), 'CERTIFICATE_UNUSABLE')
      await rejection(secureTarget(await dial(), target(), caPem, signal), 'TARGET_UNREACHABLE')
      await eventually(() => sockets.size === 0, 'every connection has ended')
      expect(bytes).to.deep.equal([])
    })
  }

  it('leaves no connection behind where certificate and key are not of one another', async () => {
    const pki = await TestPki.create()
    const [one, other] = [await pki.issue(AGENT), await pki.issue(AGENT)]
    const own = {
      certificatePem: readFileSync(one.certificateFile, 'utf8'),
      keyPem: readFileSync(other.keyFile, 'utf8'),
    }
    await rejection(
      secureTarget(await dial(), target(), undefined, signal, own),
      'TARGET_UNREACHABLE',
    )
    await rejection(askGrpc({ ...grpc, ...own, url: url() }), 'BACKEND_UNREACHABLE')
    await eventually(() => sockets.size === 0, 'every connection has ended')
  })

  it('ends a call over gRPC that was given up before it began', async () => {
    const ended = AbortSignal.abort()
    await rejection(
      askGrpc({
        ...grpc,
        url: new URL(`http://127.0.0.1:${String(port())}/a.b.C/D`),
        signal: ended,
      }),
      'BACKEND_UNREACHABLE',
    )
    await eventually(() => sockets.size === 0, 'every connection has ended')
  })
})
