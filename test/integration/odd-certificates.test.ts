import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { connect as connectPlain, type AddressInfo } from 'node:net'
import { connect, createServer, type SecureContextOptions, type Server } from 'node:tls'
import { PosternError } from '../../src/base/errors.ts'
import { readCredential } from '../../src/identity/key-files.ts'
import { onFault } from '../../src/transport/edge.ts'
import { requestHttps, requestUnverified } from '../../src/transport/https-request.ts'
import { DIRECT } from '../../src/transport/egress.ts'
import { dialTls } from '../../src/transport/tls-dial.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { oddCertificates, type OddCertificate } from '../support/odd-certificates.ts'
import { AGENT, TestPki } from '../support/pki.ts'

const MS_MAX = 30_000

/** What OpenSSL itself cannot load, nobody can send with it. */
function sendable(odd: OddCertificate): SecureContextOptions | undefined {
  const options = { cert: odd.certificatePem, key: odd.keyPem }
  try {
    createServer(options).close()
    return options
  } catch {
    return undefined
  }
}

describe('odd certificates', function () {
  const faults: PosternError[] = []
  const stop = onFault((fault) => faults.push(fault))
  const all = oddCertificates()
    .map((odd) => ({ odd, options: sendable(odd) }))
    .filter(({ options }) => options !== undefined)
  after(stop)
  beforeEach(() => {
    faults.length = 0
  })

  it('are a few hundred that can be sent', () => {
    expect(all.length).to.be.greaterThan(200)
  })

  it('end neither listener of a gateway, and let nobody in', async () => {
    const plane = await ControlPlane.start()
    try {
      const { agents, callers, renew } = plane.addresses
      for (const [index, { options }] of all.entries())
        for (const listener of [agents, callers, renew])
          // An address each, so that no network uses up its share.
          await knock(
            listener?.port ?? 0,
            `127.1.${String(index >> 8)}.${String(index & 255)}`,
            options ?? {},
          )
      expect(faults.map(({ rawMessage }) => rawMessage)).to.deep.equal([])
      expect(plane.gateway.callers.report().callers).to.equal(0)
    } finally {
      plane.stop()
    }
  })

  it('end nobody who dials a server with one', async () => {
    const pki = await TestPki.create()
    const credential = readCredential(await pki.issue(AGENT), 'agent', Date.now())
    for (const { odd, options } of all) {
      const server = createServer({ ...options, requestCert: true, rejectUnauthorized: false })
      server.on('tlsClientError', () => undefined)
      server.on('secureConnection', (socket) => socket.on('error', () => undefined))
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      try {
        await dialEveryWay(server, credential, odd.what)
      } finally {
        server.close()
      }
    }
    expect(faults.map(({ rawMessage }) => rawMessage)).to.deep.equal([])
    expect(readFileSync(pki.bundleFile, 'utf8')).to.include('CERTIFICATE')
  })

  async function dialEveryWay(
    server: Server,
    credential: ReturnType<typeof readCredential>,
    what: string,
  ): Promise<void> {
    const { port } = server.address() as AddressInfo
    const signal = AbortSignal.timeout(MS_MAX)
    const url = new URL(`https://127.0.0.1:${String(port)}/`)
    const { bundlePem } = credential
    const ways = [
      dialTls({
        host: '127.0.0.1',
        port,
        serverName: undefined,
        credential,
        expected: { trustDomain: undefined, roles: ['gateway'] },
        signal,
        nowMs: Date.now(),
      }),
      requestHttps({ url, method: 'GET', timeoutMs: 5000 }, { bundlePem, trustDomain: undefined }),
    ]
    for (const outcome of await Promise.allSettled(ways)) {
      expect(outcome.status, what).to.equal('rejected')
      if (outcome.status === 'rejected')
        expect((outcome.reason as PosternError).code, what).to.match(/^(CERT|TLS|CONNECTION|DIAL)_/)
    }
    // What is read unverified never speaks HTTP here; it must only end.
    await requestUnverified(url, DIRECT, 50).catch(() => undefined)
  }
})

async function knock(port: number, from: string, options: SecureContextOptions): Promise<void> {
  await new Promise<void>((resolve) => {
    const socket = connect({
      ...options,
      socket: connectPlain({ host: '127.0.0.1', port, localAddress: from }),
      servername: 'localhost',
      rejectUnauthorized: false,
      ALPNProtocols: port % 2 === 0 ? ['postern/1'] : ['http/1.1'],
    })
    socket.setTimeout(MS_MAX, () => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('close', () => {
      resolve()
    })
    // In TLS 1.3 a client is done before the server has judged it.
    socket.on('secureConnect', () => socket.write('GET / HTTP/1.0\r\n\r\n'))
    socket.resume()
  })
}
