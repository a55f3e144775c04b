import { expect } from 'chai'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectLocal } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { Agent } from '../../src/agent/agent.ts'
import { operatorOffers } from '../../src/agent/control/control.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { Authority, USAGE_CLIENT } from '../../src/identity/authority.ts'
import { readAuthority } from '../../src/identity/authority-files.ts'
import { makeSigningRequest, readSigningRequest } from '../../src/identity/csr.ts'
import { makeKey } from '../../src/identity/keys.ts'
import { recover } from '../../src/agent/enrolment/proof-client.ts'
import { AgentControl } from '../../src/gen/postern/v1/agent_control_pb.js'
import { AMBIENT } from '../support/ambient.ts'
import { callLocal, LocalServer } from '../../src/tunnel/local-rpc.ts'
import { NetworkBudget } from '../../src/transport/network-budget.ts'
import { TrustedProxies } from '../../src/transport/trusted-proxies.ts'
import { DEFAULT_HANDSHAKE_LIMITS } from '../../src/transport/handshake-gate.ts'
import { testMutualTls } from '../../src/transport/self-test.ts'
import { TlsListener } from '../../src/transport/tls-accept.ts'
import { codeOf, rejection } from '../support/code-of.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { runToolBeside } from '../support/openssl.ts'

const DAY_MS = 86_400_000

/** Failures that others had, each with the rule that keeps it out; the others are in ../known-failures. */
describe('known failures of this kind of program, on the network', function () {
  let plane: ControlPlane
  let agent: Agent

  before(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
    await plane.connect('tester')
    agent = plane.startAgent('a-1')
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
  })
  after(() => {
    plane.stop()
  })

  const LISTENERS = ['agents', 'callers', 'renew', 'enroll'] as const
  type Name = (typeof LISTENERS)[number]
  function options(name: Name): ConnectionOptions {
    const dir = join(plane.folder, 'callers')
    const { certificatePem: cert, keyPem: key } = agent.credential
    const own =
      name === 'callers'
        ? {
            cert: readFileSync(join(dir, 'tester.pem')),
            key: readFileSync(join(dir, 'tester.key')),
          }
        : { cert, key }
    return {
      host: '127.0.0.1',
      port: plane.addresses[name]?.port,
      servername: 'localhost',
      ca: readFileSync(plane.bundleFile),
      ...(name === 'agents' || name === 'callers' ? { ALPNProtocols: ['postern/1'] } : {}),
      ...(name === 'enroll' ? {} : own),
    }
  }
  /** Connects, and resolves once the other end has spoken; rejects when it hangs up first. */
  async function greeted(more: ConnectionOptions, sessions: Buffer[] = []): Promise<TLSSocket> {
    return await new Promise((resolve, reject) => {
      const socket = connect(more, () => {
        if (more.ALPNProtocols === undefined)
          socket.write('GET /.well-known/est/csrattrs HTTP/1.1\r\nHost: a\r\n\r\n')
      })
      socket.on('session', (given: Buffer) => sessions.push(given))
      socket.once('error', reject)
      socket.once('close', () => {
        reject(new Error('closed'))
      })
      socket.once('data', () => {
        resolve(socket)
      })
    })
  }

  for (const name of LISTENERS)
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const)
      it(`resumption outlived trust (node 35317, Go CVE-2025-68121): listener ${name} resumes nothing with ${maxVersion}`, async () => {
        const sessions: Buffer[] = []
        const first = await greeted({ ...options(name), maxVersion }, sessions)
        const [session] = sessions
        const more = session === undefined ? {} : { session }
        const second = await greeted({ ...options(name), maxVersion, ...more })
        expect(second.isSessionReused()).to.equal(false)
        first.destroy()
        second.destroy()
      })

  for (const name of LISTENERS)
    it(`Node lets clients renegotiate: listener ${name} does not`, async () => {
      const socket = await greeted({ ...options(name), maxVersion: 'TLSv1.2' })
      const error = await new Promise<Error | null>((resolve) => {
        socket.removeAllListeners('error')
        socket.on('error', resolve)
        socket.renegotiate({}, resolve)
      })
      expect(error?.message).to.match(/no renegotiation/i)
      socket.destroy()
    })

  for (const name of ['agents', 'callers', 'renew'] as const)
    it(`another server name, or none, chose a context without client certificates (Traefik CVE-2026-32305, Node CVE-2026-48928): not at ${name}`, async () => {
      for (const servername of ['localhost', 'LOCALHOST', 'other.test', '']) {
        const bare = { ...options(name), cert: undefined, key: undefined, servername }
        const outcome = await greeted({ ...bare, rejectUnauthorized: false }).then(
          () => 'let in',
          () => 'refused',
        )
        expect(outcome, servername).to.equal('refused')
      }
    })

  it('Node lets in who offers no protocol (ALPACA): we do not', async () => {
    for (const name of ['agents', 'callers'] as const) {
      const outcome = await greeted({ ...options(name), ALPNProtocols: [] }).catch(() => 'refused')
      expect(outcome).to.equal('refused')
    }
  })

  it('releases of Node broke client certificates (node 65579): a start tests that who has none is refused', async () => {
    const { credential } = plane.gateway.own
    await testMutualTls(credential, systemClock)
    // A runtime that refuses nobody, in its place.
    const { certificatePem: cert, keyPem: key } = credential
    const lax = createServer({ cert, key, ALPNProtocols: ['postern/1'] }, (socket) => {
      socket.on('error', () => undefined)
      socket.end('hello')
    })
    await new Promise<void>((resolve) => lax.listen(0, '127.0.0.1', resolve))
    const original = Object.getOwnPropertyDescriptor(TlsListener.prototype, 'listen')
    Object.defineProperty(TlsListener.prototype, 'listen', {
      ...original,
      value: () => Promise.resolve(lax.address()),
    })
    try {
      await rejection(testMutualTls(credential, systemClock), 'RUNTIME_UNSUPPORTED')
    } finally {
      Object.defineProperty(TlsListener.prototype, 'listen', original as PropertyDescriptor)
      lax.close()
    }
  })

  it('an empty trust bundle is nobody, not everybody (Caddy CVE-2026-27586): nothing listens', () => {
    const credential = { ...plane.gateway.own.credential, bundlePem: '' }
    codeOf(
      () =>
        new TlsListener({
          address: { host: '127.0.0.1', port: 0 },
          credential: Object.assign(credential, { keyPem: plane.gateway.own.credential.keyPem }),
          expected: { trustDomain: undefined, roles: ['agent'] },
          limits: DEFAULT_HANDSHAKE_LIMITS,
          budget: new NetworkBudget(systemClock),
          proxies: new TrustedProxies(),
          clock: systemClock,
          logger: silentLogger,
          onPeer: () => undefined,
        }),
      'CERTIFICATE_UNUSABLE',
    )
  })

  it('"the only error is that it has expired" let anyone mint agents: an impostor of our CA recovers nothing', async () => {
    const ours = readAuthority(join(plane.folder, 'cp/ca'), 'agents')
    const name = ours.certificate.subjectName.getField('CN')[0] ?? ''
    const validity = {
      notBefore: new Date(Date.now() - 2 * DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
    }
    const authority = await Authority.createRoot(name, validity)
    await plane.plant('victim', { fromMs: Date.now() - 2 * DAY_MS, toMs: Date.now() - DAY_MS })
    await plane.plant('fake', {
      fromMs: Date.now() - 2 * DAY_MS,
      toMs: Date.now() - DAY_MS,
      authority,
      isKnown: false,
    })
    const request = makeSigningRequest(await makeKey('p256'))
    const trusting = (name: string) => ({
      credential: plane.makeAgent(name).credential,
      issuingKeys: [],
    })
    const url = new URL(plane.enrollUrl)
    await rejection(recover(url, trusting('fake'), request), 'RENEWAL_REFUSED')
    expect(await recover(url, trusting('victim'), request)).to.have.lengthOf(2)
  })

  it('a list of what is revoked was there and not applied (Vault CVE-2022-41316): it is in force before anybody can knock', async () => {
    const other = await ControlPlane.start()
    try {
      await other.enroll('a-1')
      other.gateway.stop()
      await other.command('certs', 'revoke', '--cluster', 'c-1')
      await other.startGateway()
      const refused = other.startAgent('a-1')
      await eventually(() => refused.tunnel.lastError?.code === 'IDENTITY_REVOKED', 'it is refused')
      expect(other.log.lines.some(({ message }) => message === 'tunnel registered')).to.equal(false)
    } finally {
      other.stop()
    }
  })

  it('one way to a certificate skipped what the others ask (step CVE-2026-30836, OpenBao CVE-2026-39388): none does', async () => {
    const other = await ControlPlane.start()
    try {
      await other.enroll('a-1')
      await other.plant('off', { fromMs: Date.now() - 2 * DAY_MS, toMs: Date.now() - DAY_MS })
      const { token } = await other.token({ agent: 'a-2' })
      await other.command('clusters', 'lock', 'c-1')
      await other.gateway.access?.refresh()
      const nowhere = { 'gateway.address': 'localhost:1' }
      const overEst = other.makeAgent('a-1', { ...nowhere, 'identity.renewUrl': other.renewUrl })
      await rejection(overEst.changes.renewal?.renewNow() ?? Promise.resolve(), 'CLUSTER_LOCKED')
      const byProof = other.makeAgent('off', nowhere)
      await rejection(byProof.changes.renewal?.renewNow() ?? Promise.resolve(), 'CLUSTER_LOCKED')
      const issuer = other.gateway.ca?.issuer
      const asker = { address: 'x', nowMs: Date.now() }
      const read = () => {
        throw new Error('a request is read only for who may ask')
      }
      await issuer?.enroll('postern_nonsense', read, asker).catch((error: unknown) => {
        expect(String(error)).to.include('TOKEN_REFUSED')
      })
      expect(token).to.match(/^postern_/)
    } finally {
      other.stop()
    }
  })

  it('strangers reach no parser, and unknown operations and labels are nothing (step CVE-2026-40097)', async () => {
    const ask = async (path: string, ...more: string[]) =>
      await runToolBeside('curl', [
        '-sS',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        '--cacert',
        plane.bundleFile,
        '-X',
        'POST',
        '-u',
        'token:postern_nonsense',
        '--data-binary',
        'this is no request',
        ...more,
        `${plane.enrollUrl}${path}`,
      ])
    expect(await ask('/.well-known/est/simpleenroll')).to.equal('401')
    for (const path of ['serverkeygen', 'fullcmc', 'label/simpleenroll', 'simpleenroll/', ''])
      expect(await ask(`/.well-known/est/${path}`), path).to.equal('404')
    for (const path of ['/', '/crl/', '/crl/../agents.crl', '/.well-known/postern/bundles/x'])
      expect(await ask(path, '--path-as-is'), path).to.equal('404')
  })

  it('a renewal that is replayed gives the same certificate for minutes, and none after that', async () => {
    const issuer = plane.gateway.ca?.issuer
    const { certificatePem } = agent.credential
    const leaf = Buffer.from(certificatePem.split('-----')[2]?.replace(/\s/g, '') ?? '', 'base64')
    const key = await makeKey('p256')
    const request = readSigningRequest(makeSigningRequest(key))
    const at = (minutes: number) => ({ address: 'x', nowMs: Date.now() + minutes * 60_000 })
    const first = await issuer?.renew(leaf, request, at(0))
    expect(await issuer?.renew(leaf, request, at(5))).to.deep.equal(first)
    await rejection(issuer?.renew(leaf, request, at(11)) ?? Promise.resolve(), 'CSR_INVALID')
  })

  it('two CAs of one name are taken for one another: each generation has a name and a key identifier of its own', async () => {
    const other = await ControlPlane.start()
    try {
      await other.command('ca', 'prepare', '--root', join(other.folder, 'cp/root'))
      const ca = join(other.folder, 'cp/ca')
      const second = readdirSync(ca).find((name) => name.startsWith('generation-2-')) ?? ''
      const [old, next] = ['', second].map((folder) => readAuthority(join(ca, folder), 'agents'))
      expect(next?.certificate.subject).not.to.equal(old?.certificate.subject)
      expect(next?.keyId).not.to.equal(old?.keyId)
    } finally {
      other.stop()
    }
  })

  it('admin interfaces took orders from anyone (linkerd CVE-2024-40632): ours is a socket for its user, in bounds', async () => {
    const path = join(plane.folder, 'orders.sock')
    const socket = new LocalServer(path, AMBIENT)
    const ports = { agent, clock: systemClock, reload: () => agent.reload(), recentLog: () => [] }
    for (const offer of operatorOffers(ports)) socket.server.offer(offer)
    await socket.listen()
    expect(statSync(path).mode & 0o777).to.equal(0o600)
    const ask = async (text: string): Promise<string> =>
      await new Promise((resolve) => {
        let answer = ''
        const client = connectLocal(path, () => client.end(text))
        client.on('data', (chunk: Buffer) => (answer += chunk.toString()))
        client.on('error', () => undefined)
        client.on('close', () => {
          resolve(answer)
        })
      })
    // Each is hung up on, with nothing but the hello that everyone gets.
    for (const nonsense of ['', 'x'.repeat(10_000), 'status\n', 'stop\n'])
      expect(await ask(nonsense)).not.to.match(/health|version/)
    const renewed = callLocal(AgentControl, path, AMBIENT, (client) =>
      client.renewCertificate({ keyKind: 'dsa' }),
    )
    expect((await rejection(renewed, 'USAGE')).message).to.include('is no kind of key')
    const { health } = await callLocal(AgentControl, path, AMBIENT, (client) => client.status({}))
    expect(health).to.be.oneOf(['healthy', 'degraded', 'down'])
    socket.close()
  })

  it('a key that others can replace is refused: a folder that they may write, a link that they planted', () => {
    const folder = join(plane.folder, 'open')
    mkdirSync(folder)
    const file = join(folder, 'passphrase')
    writeFileSync(file, 'x', { mode: 0o600 })
    chmodSync(folder, 0o777)
    const flags = { 'identity.passphraseFile': file }
    expect(codeOf(() => plane.makeAgent('a-1', flags), 'KEY_EXPOSED').message).to.include(
      'chmod go-w',
    )
    chmodSync(folder, 0o1777)
    plane.makeAgent('a-1', flags)
  })

  it('agents hold exactly clientAuth, and their CA no more', () => {
    const { certificate } = readAuthority(join(plane.folder, 'cp/ca'), 'agents')
    const usage = certificate.extensions.find(({ type }) => type === '2.5.29.37')
    expect(Buffer.from(usage?.value ?? new ArrayBuffer(0)).toString('hex')).to.equal(
      '300a06082b06010505070302',
    )
    expect(USAGE_CLIENT).to.equal('1.3.6.1.5.5.7.3.2')
  })
})
