import { expect } from 'chai'
import { createServer as createPlainServer, type AddressInfo } from 'node:net'
import { readFileSync } from 'node:fs'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import {
  KeyUsageFlags,
  USAGE_CLIENT,
  USAGE_SERVER,
  type LeafRequest,
} from '../../src/identity/authority.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { dialTls } from '../../src/transport/tls-dial.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, GATEWAY, TestPki, TRUST_DOMAIN } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

const HOUR_MS = 3_600_000
const PAST = {
  notBefore: new Date(Date.now() - 5 * HOUR_MS),
  notAfter: new Date(Date.now() - HOUR_MS),
}
const FUTURE = {
  notBefore: new Date(Date.now() + HOUR_MS),
  notAfter: new Date(Date.now() + 5 * HOUR_MS),
}

describe('mutual TLS', function () {
  let stack: Stack
  beforeEach(async () => {
    stack = await Stack.start()
  })
  afterEach(() => {
    stack.stop()
  })

  /** Connects with raw TLS and waits for the end. */
  async function knock(options: ConnectionOptions): Promise<string> {
    return await new Promise((resolve) => {
      const socket = connect({
        host: '127.0.0.1',
        port: stack.agentPort,
        servername: 'localhost',
        ALPNProtocols: ['postern/1'],
        ca: readFileSync(stack.pki.bundleFile),
        ...options,
      })
      socket.on('error', (error: NodeJS.ErrnoException) => {
        resolve(error.code ?? error.message)
      })
      socket.on('close', () => {
        resolve('closed')
      })
      socket.resume()
    })
  }

  function material(files: KeyFilePaths): { cert: Buffer; key: Buffer } {
    return { cert: readFileSync(files.certificateFile), key: readFileSync(files.keyFile) }
  }

  async function refusal(code: string): Promise<Readonly<Record<string, unknown>>> {
    const line = await eventually(
      () =>
        stack.log.lines.find(
          ({ message, facts }) => message === 'refused a connection' && facts.code === code,
        ),
      `a log line with ${code}; have ${JSON.stringify(stack.log.lines.map(({ facts }) => facts))}`,
    )
    return line.facts
  }

  describe('the gateway refuses', () => {
    const wrongLeaves: readonly (readonly [string, string, Partial<LeafRequest>])[] = [
      ['an expired certificate', 'CERT_EXPIRED', PAST],
      ['a certificate that is not valid yet', 'CERT_NOT_YET_VALID', FUTURE],
      ['a certificate for servers', 'CERT_PURPOSE', { usage: [USAGE_SERVER] }],
      ['a certificate without extended key usage', 'CERT_LEAF_RULES', { usage: [] }],
      [
        'a certificate with any extended key usage',
        'CERT_LEAF_RULES',
        { usage: [USAGE_CLIENT, '2.5.29.37.0'] },
      ],
      [
        'a certificate with two names',
        'CERT_LEAF_RULES',
        { uris: ['spiffe://a.test/caller/x', 'spiffe://a.test/caller/y'] },
      ],
      ['a certificate with no name but a CN', 'CERT_LEAF_RULES', { uris: [] }],
      ['a client certificate with a DNS name', 'CERT_LEAF_RULES', { dnsNames: ['localhost'] }],
      [
        'a certificate that may sign others',
        'CERT_LEAF_RULES',
        { keyUsage: KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign },
      ],
      [
        'a certificate that lives for a year',
        'CERT_LEAF_RULES',
        { notAfter: new Date(Date.now() + 365 * 24 * HOUR_MS) },
      ],
      [
        'a name that is not of our form',
        'CERT_LEAF_RULES',
        { uris: ['spiffe://test.postern.test/cluster/C%201/agent/a'] },
      ],
      [
        'another trust domain',
        'IDENTITY_TRUST_DOMAIN',
        { uris: ['spiffe://evil.test/cluster/c-1/agent/a-1'] },
      ],
      [
        'a caller on the listener of agents',
        'IDENTITY_ROLE',
        { uris: [`spiffe://${TRUST_DOMAIN}/caller/x`] },
      ],
    ]
    for (const [what, code, changes] of wrongLeaves) {
      it(`${what}, with ${code} and a line that names subject, address and reason`, async () => {
        await knock(material(await stack.pki.issue(AGENT, changes)))
        const facts = await refusal(code)
        expect(facts.peer).to.match(/^(::ffff:)?127\.0\.0\.1:\d+$/)
        expect(facts.subject).to.be.a('string')
        expect(facts.reason).to.be.a('string')
      })
    }

    it('a certificate of a foreign CA, with CERT_UNTRUSTED', async () => {
      const foreign = await TestPki.create()
      await knock(material(await foreign.issue(AGENT)))
      expect((await refusal('CERT_UNTRUSTED')).subject).to.include('spiffe://')
    })

    it('a peer without a certificate, with CERT_MISSING', async () => {
      await knock({})
      await refusal('CERT_MISSING')
    })

    it('TLS below 1.2, with TLS_VERSION', async () => {
      const files = material(await stack.pki.issue(AGENT))
      expect(
        await knock({
          ...files,
          minVersion: 'TLSv1',
          maxVersion: 'TLSv1.1',
          ciphers: 'DEFAULT@SECLEVEL=0',
        }),
      ).to.match(/VERSION|PROTOCOL/)
      await refusal('TLS_VERSION')
    })

    it('suites without AEAD or forward secrecy, with TLS_CIPHER', async () => {
      const files = material(await stack.pki.issue(AGENT))
      for (const ciphers of [
        'ECDHE-ECDSA-AES128-SHA',
        'ECDHE-ECDSA-AES256-SHA384',
        'AES128-GCM-SHA256:@SECLEVEL=0',
      ]) {
        stack.log.lines.length = 0
        await knock({ ...files, maxVersion: 'TLSv1.2', ciphers })
        await refusal('TLS_CIPHER')
      }
    })

    it('another ALPN protocol, and none at all, with TLS_ALPN', async () => {
      const files = material(await stack.pki.issue(AGENT))
      expect(await knock({ ...files, ALPNProtocols: ['h2'] })).to.include('NO_APPLICATION_PROTOCOL')
      await knock({ ...files, ALPNProtocols: [] })
      await refusal('TLS_ALPN')
    })
  })

  it('tells an agent of another trust domain why, and the agent says that somebody must act', async () => {
    const agent = await stack.dialAgent(
      { trustDomain: 'evil.test' },
      await stack.pki.issue({ ...AGENT, trustDomain: 'evil.test' }),
    )
    await eventually(() => agent.tunnel.lastError !== undefined, 'an error')
    // The agent refuses the gateway first, as its name is of another trust domain for it too.
    expect(agent.tunnel.lastError?.code).to.equal('IDENTITY_TRUST_DOMAIN')
    expect(
      stack.log.lines.some(
        ({ level, message }) => level === 'error' && message.includes('somebody must act'),
      ),
    ).to.equal(true)
  })

  it('tells a refused agent the reason in a GOAWAY once its chain was verified', async () => {
    const files = await stack.pki.issue(AGENT)
    const wrong = await stack.pki.issue(AGENT, {
      notAfter: new Date(Date.now() + 365 * 24 * HOUR_MS),
    })
    const settings = stack.agentSettings(files)
    const agent = await stack.dialAgent({}, files)
    agent.stop()
    const credential = {
      ...agent.credential,
      certificatePem: readFileSync(wrong.certificateFile, 'utf8'),
      keyPem: readFileSync(wrong.keyFile, 'utf8'),
    }
    const wire = await dialTls({
      host: '127.0.0.1',
      port: stack.agentPort,
      serverName: 'localhost',
      credential,
      expected: { trustDomain: settings.trustDomain, roles: ['gateway'] },
      signal: AbortSignal.timeout(5000),
      nowMs: Date.now(),
    })
    const chunks: Buffer[] = []
    await new Promise<void>((resolve) => {
      wire.listen({
        onBytes: (chunk) => chunks.push(chunk),
        onClosed: () => {
          resolve()
        },
      })
    })
    expect(Buffer.concat(chunks).toString('latin1')).to.include(
      'the leaf lives longer than 90 days',
    )
  })

  describe('the agent refuses', () => {
    /** A server that accepts anything, with the certificate given. */
    async function impostor(
      files: KeyFilePaths,
      options: object = {},
    ): Promise<{ port: number; close(): void }> {
      const server = createServer(
        {
          ...material(files),
          requestCert: true,
          rejectUnauthorized: false,
          ALPNProtocols: ['postern/1'],
          ...options,
        },
        (socket) => {
          socket.on('error', () => undefined)
        },
      )
      server.on('tlsClientError', () => undefined)
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return { port: (server.address() as AddressInfo).port, close: () => server.close() }
    }

    async function errorFrom(
      files: KeyFilePaths,
      options: object = {},
    ): Promise<string | undefined> {
      const server = await impostor(files, options)
      const agent = await stack.dialAgent({ 'gateway.address': `127.0.0.1:${String(server.port)}` })
      const error = await eventually(() => agent.tunnel.lastError, 'an error')
      agent.stop()
      server.close()
      expect(error.message).to.include(`127.0.0.1:${String(server.port)}`)
      return error.code
    }

    const cases: readonly (readonly [string, string, Partial<LeafRequest>])[] = [
      ['an expired gateway', 'CERT_EXPIRED', PAST],
      ['a gateway that is not valid yet', 'CERT_NOT_YET_VALID', FUTURE],
      ['a certificate for clients', 'CERT_PURPOSE', { usage: [USAGE_CLIENT] }],
      ['a gateway of another name', 'CERT_NAME', { dnsNames: ['other.test'] }],
      ['a wildcard name', 'CERT_NAME', { dnsNames: ['*.test', '*'] }],
      [
        'a gateway of another trust domain',
        'IDENTITY_TRUST_DOMAIN',
        { uris: ['spiffe://evil.test/region/r/gateway/g'] },
      ],
      ['a certificate without a URI name', 'CERT_LEAF_RULES', { uris: [] }],
      [
        'serverAuth on the name of an agent',
        'CERT_LEAF_RULES',
        { uris: [`spiffe://${TRUST_DOMAIN}/cluster/c/agent/a`] },
      ],
    ]
    for (const [what, code, changes] of cases) {
      it(`${what}, with ${code}`, async () => {
        expect(await errorFrom(await stack.pki.issue(GATEWAY, changes))).to.equal(code)
      })
    }

    it('a gateway of a foreign CA, with CERT_UNTRUSTED', async () => {
      const foreign = await TestPki.create()
      expect(await errorFrom(await foreign.issue(GATEWAY))).to.equal('CERT_UNTRUSTED')
    })

    it('TLS below 1.2, with TLS_VERSION', async () => {
      const options = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
      expect(await errorFrom(await stack.pki.issue(GATEWAY), options)).to.equal('TLS_VERSION')
    })

    it('suites without AEAD, with TLS_CIPHER', async () => {
      const options = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }
      expect(await errorFrom(await stack.pki.issue(GATEWAY), options)).to.equal('TLS_CIPHER')
    })

    it('a server without our protocol, with TLS_ALPN', async () => {
      expect(await errorFrom(await stack.pki.issue(GATEWAY), { ALPNProtocols: ['h2'] })).to.equal(
        'TLS_ALPN',
      )
    })
  })

  it('names a host that does not resolve', async () => {
    const agent = await stack.dialAgent({ 'gateway.address': 'gateway.invalid:1' })
    const error = await eventually(() => agent.tunnel.lastError, 'an error')
    expect(error.code).to.equal('NAME_NOT_RESOLVED')
  })

  it('takes a gateway that hangs up after the handshake for a refusal', async () => {
    const files = await stack.pki.issue(GATEWAY)
    const server = createServer({ ...material(files), ALPNProtocols: ['postern/1'] }, (socket) =>
      socket.destroy(),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const agent = await stack.dialAgent({ 'gateway.address': `127.0.0.1:${String(port)}` })
    const error = await eventually(() => agent.tunnel.lastError, 'an error')
    expect(error.code).to.equal('PEER_REFUSED')
    const said = 'what the doctor finds on our side'
    const line = await eventually(
      () => stack.log.lines.find(({ message }) => message === said),
      said,
    )
    expect(line.facts.reason).to.include('our certificate is in order by our own bundle')
    server.close()
  })

  /** A connection that the gateway has greeted: only then would a ticket have come. */
  async function greeted(options: ConnectionOptions, sessions: Buffer[] = []): Promise<TLSSocket> {
    return await new Promise((resolve, reject) => {
      const ca = readFileSync(stack.pki.bundleFile)
      const names = { servername: 'localhost', ALPNProtocols: ['postern/1'] }
      const socket = connect({ host: '127.0.0.1', port: stack.agentPort, ca, ...names, ...options })
      socket.on('session', (given: Buffer) => sessions.push(given))
      socket.on('error', reject)
      socket.once('data', () => {
        resolve(socket)
      })
    })
  }

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`resumes no session with ${maxVersion}`, async () => {
      const options = { ...material(await stack.pki.issue(AGENT)), maxVersion }
      const sessions: Buffer[] = []
      const first = await greeted(options, sessions)
      first.destroy()
      const [session] = sessions
      const second = await greeted(session === undefined ? options : { ...options, session })
      expect(second.isSessionReused()).to.equal(false)
      second.destroy()
    })
  }

  it('does not renegotiate', async () => {
    const options = material(await stack.pki.issue(AGENT))
    const socket = await greeted({ ...options, maxVersion: 'TLSv1.2' })
    const error = await new Promise<Error | null>((resolve) => {
      socket.removeAllListeners('error')
      socket.on('error', resolve)
      socket.renegotiate({}, resolve)
    })
    expect(error?.message).to.match(/no renegotiation/i)
    socket.destroy()
  })

  it('gives up a server that accepts and says nothing, with DIAL_TIMEOUT', async () => {
    const mute = createPlainServer(() => undefined)
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    const { port } = mute.address() as AddressInfo
    const agent = await stack.dialAgent({
      'gateway.address': `127.0.0.1:${String(port)}`,
      'tunnel.dialTimeout': '300ms',
    })
    expect((await eventually(() => agent.tunnel.lastError, 'an error')).code).to.equal(
      'DIAL_TIMEOUT',
    )
    agent.stop()
    mute.close()
  })
})
