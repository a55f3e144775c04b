import { expect } from 'chai'
import { X509Certificate } from 'node:crypto'
import { copyFileSync, readFileSync } from 'node:fs'
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { ApiStack, clientTls } from '../support/api-stack.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, GATEWAY, TestPki } from '../support/pki.ts'

const MESSAGE = Buffer.from('0000000001' + '78', 'hex')

function open(session: ClientHttp2Session, method: string): ClientHttp2Stream {
  const stream = session.request({
    ...{
      ':method': 'POST',
      ':path': `/test.v1.Echo/${method}`,
      'content-type': 'application/grpc',
    },
    ...{ te: 'trailers', 'postern-cluster': 'c-1' },
  })
  stream.on('error', () => undefined)
  return stream
}

/** The status of a call, once its answer is whole; NaN where there was none. */
function statusOf(stream: ClientHttp2Stream): Promise<number> {
  return new Promise((resolve) => {
    let status = Number.NaN
    const note = (headers: Readonly<Record<string, unknown>>): void => {
      if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status'])
    }
    stream.on('response', note)
    stream.on('trailers', note)
    stream.resume()
    stream.on('close', () => {
      resolve(status)
    })
  })
}

describe('connections to the API', function () {
  it('end in two steps when they are of age, and what runs on them goes on', async () => {
    const at = await ApiStack.start({ 'api.connectionAge': '1s' })
    const session = connect(`https://localhost:${String(at.port)}`, at.tls)
    session.on('error', () => undefined)
    try {
      const lastIds: number[] = []
      session.on('goaway', (_code: number, lastId: number) => lastIds.push(lastId))
      const stream = open(session, 'Both')
      const status = statusOf(stream)
      stream.write(MESSAGE)
      await eventually(() => lastIds.length >= 2, 'it was told twice')
      // First that any stream may still come, then which was the last.
      expect(lastIds[0]).to.equal(2 ** 31 - 1)
      expect(lastIds.at(-1)).to.be.lessThan(100)
      stream.end(MESSAGE)
      expect(await status).to.equal(0)
      await eventually(() => session.destroyed, 'it has ended')
      const next = connect(`https://localhost:${String(at.port)}`, at.tls)
      const call = open(next, 'Unary')
      const again = statusOf(call)
      call.end(MESSAGE)
      expect(await again).to.equal(0)
      next.destroy()
    } finally {
      session.destroy()
      at.stop()
    }
  })

  it('are made by callers with certificates alone', async () => {
    const at = await ApiStack.start()
    try {
      const refused = async (files: KeyFilePaths | undefined): Promise<boolean> => {
        const { ca, cert, key } = clientTls(files ?? at.files)
        const own = files === undefined ? {} : { cert, key }
        const socket = connectTls({
          host: 'localhost',
          port: at.port,
          ca,
          ...own,
          ALPNProtocols: ['h2'],
        })
        socket.on('error', () => undefined)
        return await new Promise((resolve) => {
          socket.on('close', () => {
            resolve(true)
          })
          socket.on('data', () => {
            resolve(false)
            socket.destroy()
          })
        })
      }
      const { pki } = at.stack
      expect(await refused(undefined)).to.equal(true)
      expect(await refused(await pki.issue(AGENT))).to.equal(true)
      expect(await refused(await pki.issue(GATEWAY))).to.equal(true)
      expect(await refused(await (await TestPki.create()).issue(AGENT))).to.equal(true)
      expect(await refused(at.files)).to.equal(false)
    } finally {
      at.stop()
    }
  })

  it('show a certificate of their own, and the next one once its files have changed', async () => {
    const pki = await TestPki.create()
    const [first, second] = [await pki.issue(GATEWAY), await pki.issue(GATEWAY)]
    const file = (name: string): string => join(pki.folder, name)
    const put = (files: KeyFilePaths): void => {
      copyFileSync(files.certificateFile, file('api.pem'))
      copyFileSync(files.keyFile, file('api.key'))
    }
    put(first)
    const at = await ApiStack.start({
      'api.certificateFile': file('api.pem'),
      'api.keyFile': file('api.key'),
    })
    try {
      const shown = (): Promise<string | undefined> =>
        new Promise((resolve) => {
          const { cert, key } = at.tls
          const ca = readFileSync(first.bundleFile)
          const socket = connectTls({
            host: 'localhost',
            port: at.port,
            ca,
            cert,
            key,
            ALPNProtocols: ['h2'],
          })
          socket.on('error', () => {
            resolve(undefined)
          })
          socket.on('secureConnect', () => {
            resolve(socket.getPeerX509Certificate()?.serialNumber)
            socket.destroy()
          })
        })
      const before = await shown()
      expect(before).to.be.a('string')
      put(second)
      await eventually(async () => {
        const now = await shown()
        return now !== undefined && now !== before
      }, 'the next one is shown')
    } finally {
      at.stop()
    }
  })

  it('are cut within a second once the certificate of their caller is revoked', async () => {
    const plane = await ControlPlane.start({ 'api.listen': '127.0.0.1:0' })
    try {
      const dir = join(plane.folder, 'callers')
      await plane.command('certs', 'issue', '--caller', 'billing', '--dir', dir)
      const files = {
        certificateFile: join(dir, 'billing.pem'),
        keyFile: join(dir, 'billing.key'),
        bundleFile: join(dir, 'bundle.pem'),
      }
      const url = `https://localhost:${String(plane.addresses.api?.port)}`
      const session = connect(url, clientTls(files))
      session.on('error', () => undefined)
      const closed = new Promise((resolve) => session.once('close', resolve))
      await new Promise((resolve) => session.once('remoteSettings', resolve))
      const serial = new X509Certificate(
        readFileSync(files.certificateFile),
      ).serialNumber.toLowerCase()
      const { status, stderr } = await plane.command('certs', 'revoke', serial, '--reason', 'test')
      expect(status, stderr).to.equal(0)
      await closed
      const again = connect(url, clientTls(files))
      again.on('error', () => undefined)
      await new Promise((resolve) => again.once('close', resolve))
    } finally {
      plane.stop()
    }
  })
})
