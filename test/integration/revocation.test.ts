import { expect } from 'chai'
import { X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import type { Agent } from '../../src/agent/agent.ts'
import { Diagnostics } from '../../src/client.ts'
import { credentialsOf, Denials } from '../../src/gateway/access/denials.ts'
import { readCrl } from '../../src/identity/crl.ts'
import { makeSigningRequest, readSigningRequest } from '../../src/identity/csr.ts'
import { element, sequence } from '../../src/identity/der-write.ts'
import { DerReader, readOne, TAG } from '../../src/identity/der.ts'
import { makeKey } from '../../src/identity/keys.ts'
import { pemBlocks, pemText } from '../../src/identity/pem.ts'
import { rejection } from '../support/code-of.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { runTool, runToolBeside } from '../support/openssl.ts'
import { runCli } from '../support/run-cli.ts'

const SECOND_MS = 1000
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

describe('revocation', function () {
  let plane: ControlPlane
  let agent: Agent

  beforeEach(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
    agent = plane.startAgent('a-1')
    await isUp(agent)
  })
  afterEach(() => {
    plane.stop()
  })

  const isUp = (of: Agent) => eventually(() => of.tunnel.state.name === 'ready', 'the tunnel is up')
  const serialOf = (of: Agent): string =>
    new X509Certificate(of.credential.certificatePem).serialNumber.toLowerCase()
  /** Runs a command, and returns how long it then took until the tunnel was cut. */
  async function cutAfter(...args: readonly string[]): Promise<number> {
    const { status, stderr } = await plane.command(...args)
    expect([status, stderr]).to.deep.equal([0, ''])
    const startedMs = Date.now()
    await eventually(() => agent.tunnel.state.name !== 'ready', 'the tunnel is cut')
    return Date.now() - startedMs
  }

  for (const [what, argsOf] of [
    ['a certificate by its serial', () => ['revoke', serialOf(agent)]],
    ['an agent', () => ['revoke', '--cluster', 'c-1', '--agent', 'a-1']],
    ['a whole cluster', () => ['revoke', '--cluster', 'c-1']],
  ] as const)
    it(`of ${what} cuts it within a second, refuses its handshakes, renewals and recovery, for good`, async () => {
      expect(await cutAfter('certs', ...argsOf(), '--reason', 'laptop lost')).to.be.lessThan(
        SECOND_MS,
      )
      const cause = await eventually(() => {
        const { state } = agent.tunnel
        return state.name === 'backoff' && state.cause.code === 'IDENTITY_REVOKED'
          ? state.cause
          : undefined
      }, 'it is told')
      expect(cause.recovery).to.equal('give-up')
      expect(cause.rawMessage).to.include('laptop lost')
      await rejection(agent.changes.renewal?.renewNow() ?? Promise.resolve(), 'IDENTITY_REVOKED')
      agent.stop()
      const other = plane.startAgent('a-1', {
        'gateway.address': 'localhost:1',
        'identity.renewUrl': plane.renewUrl,
      })
      await rejection(other.changes.renewal?.renewNow() ?? Promise.resolve(), 'IDENTITY_REVOKED')
      const { stdout } = await plane.command('certs', 'list', '--json')
      const rows = JSON.parse(stdout) as { identity: string; state: string }[]
      expect(rows.find(({ identity: name }) => name === 'c-1/a-1')?.state).to.equal('revoked')
    })

  it('of a key outlives a signature that was altered: no fingerprint names what is denied', async () => {
    const { publicKey } = new X509Certificate(agent.credential.certificatePem)
    writeFileSync(join(plane.folder, 'key.der'), publicKey.export({ type: 'spki', format: 'der' }))
    const { output } = runTool('sha256sum', [join(plane.folder, 'key.der')])
    const pin = `sha256:${output.slice(0, 64)}`
    expect(await cutAfter('certs', 'revoke', '--key', pin)).to.be.lessThan(SECOND_MS)
    // (r, n - s) is as good a signature as (r, s), and gives the certificate another fingerprint.
    const chain = join(plane.stateOf('a-1'), 'current/chain.pem')
    writeFileSync(chain, withOtherSignature(readFileSync(chain, 'utf8')))
    agent.stop()
    const altered = plane.startAgent('a-1')
    await eventually(() => {
      const { state } = altered.tunnel
      return state.name === 'backoff' && state.cause.code === 'IDENTITY_REVOKED'
    }, 'it is refused')
  })

  it('of an agent lets it in again with a new join token, at once', async () => {
    await cutAfter('certs', 'revoke', '--cluster', 'c-1', '--agent', 'a-1')
    agent.stop()
    await plane.enroll('a-1')
    await isUp(plane.startAgent('a-1'))
  })

  it('reaches what was renewed from a certificate or key before it: who steals a key and renews first holds nothing', async () => {
    const serial = serialOf(agent)
    await agent.changes.renewal?.renewNow()
    await agent.changes.renewal?.renewNow()
    expect(serialOf(agent)).not.to.equal(serial)
    const { stdout } = await plane.command('certs', 'revoke', serial)
    expect(stdout).to.include('2 that were renewed from it')
    await eventually(() => agent.tunnel.lastError?.code === 'IDENTITY_REVOKED', 'it is cut')
    await plane.enroll('a-2')
    const other = plane.startAgent('a-2')
    await isUp(other)
    const rows = JSON.parse((await plane.command('certs', 'list', '--json')).stdout) as {
      key: string
      identity: string
    }[]
    const key = rows.find(({ identity }) => identity === 'c-1/a-2')?.key ?? ''
    await other.changes.renewal?.renewNow()
    expect((await plane.command('certs', 'revoke', '--key', key)).stdout).to.include('1 that were')
    await eventually(() => other.tunnel.lastError?.code === 'IDENTITY_REVOKED', 'it is cut')
  })

  it('reaches who renews while it is given, ten times over: nothing that descends works', async () => {
    const issuer = plane.gateway.ca?.issuer
    if (issuer === undefined) throw new Error('there is a CA')
    for (let round = 0; round < 10; round++) {
      const name = `t-${String(round)}`
      await plane.enroll(name)
      const chain = readFileSync(join(plane.stateOf(name), 'current/chain.pem'), 'utf8')
      const [first = Buffer.alloc(0)] = pemBlocks(chain, 'CERTIFICATE')
      const serial = new X509Certificate(first).serialNumber.toLowerCase()
      let latest = first
      let renewals = 0
      // Renews as fast as it can until it is refused.
      const thief = (async () => {
        for (;;) {
          const request = readSigningRequest(makeSigningRequest(await makeKey('p256')))
          latest = await issuer.renew(latest, request, { address: 'x', nowMs: Date.now() })
          renewals++
        }
      })()
      await eventually(() => renewals >= 3, 'it renews')
      const { stdout } = await plane.command('certs', 'revoke', serial)
      expect(stdout).to.include('revoked')
      await rejection(thief, 'IDENTITY_REVOKED')
      await rejection(issuer.judged(latest), 'IDENTITY_REVOKED')
      await eventually(() => {
        const { denials } = plane.gateway.access ?? {}
        const identity = { role: 'agent', trustDomain: '', cluster: 'c-1', agent: name } as const
        return denials?.denialOf(credentialsOf(latest, identity))?.code === 'IDENTITY_REVOKED'
      }, 'no handshake lets it in')
    }
  })

  it('is one row, however many were renewed', async () => {
    const serial = serialOf(agent)
    await plane.records(async ({ database }) => {
      const row = await database
        .selectFrom('certificates')
        .selectAll()
        .where('serial', '=', serial)
        .executeTakeFirstOrThrow()
      await database.transaction().execute(async (within) => {
        for (let i = 0; i < 33_000; i += 500) {
          const rows = Array.from({ length: 500 }, (_, j) => {
            const n = String(i + j)
            return { ...row, serial: `renewed${n}`, spki: n, grant: serial, der: '' }
          })
          await within.insertInto('certificates').values(rows).execute()
        }
      })
    })
    const { status, stdout, stderr } = await plane.command('certs', 'revoke', serial)
    expect([status, stderr]).to.deep.equal([0, ''])
    expect(stdout).to.include('33000 that were renewed')
    const denials = await plane.records(
      async ({ database }) => await database.selectFrom('denials').selectAll().execute(),
    )
    expect(denials).to.have.length(1)
    await eventually(() => agent.tunnel.lastError?.code === 'IDENTITY_REVOKED', 'it is cut')
  })

  it('of an agent or cluster lets nobody in by a token from before it', async () => {
    const { token } = await plane.token({ uses: 5 })
    const named = await plane.token({ agent: 'a-1' })
    await cutAfter('certs', 'revoke', '--cluster', 'c-1')
    for (const old of [token, named.token])
      await rejection(plane.enrollWith('again', old), 'TOKEN_REFUSED')
    expect(
      plane.log.lines.some(({ facts }) => String(facts.reason).includes('made before')),
    ).to.equal(true)
    const { token: fresh } = await plane.token({ uses: 5 })
    await plane.enrollWith('again', fresh)
  })

  it('is seen by a renewal that is under way in the gateway, whichever comes first', async () => {
    const issuer = plane.gateway.ca?.issuer
    const [leaf = Buffer.alloc(0)] = pemBlocks(agent.credential.certificatePem, 'CERTIFICATE')
    const request = readSigningRequest(makeSigningRequest(await makeKey('p256')))
    const asker = { address: 'x', nowMs: Date.now() }
    // The gateway has not looked at the store since.
    await plane.records(async (records) => {
      const order = { reason: 'x', actor: 'test', nowMs: Date.now() }
      await new Denials(records).deny({ kind: 'lock', cluster: 'c-1' }, order)
    })
    await rejection(issuer?.renew(leaf, request, asker) ?? Promise.resolve(), 'CLUSTER_LOCKED')
  })

  it('of nothing that was ever issued is an error, and so is a serial that is ambiguous', async () => {
    const nothing = await plane.command('certs', 'revoke', 'abcdef12')
    expect([nothing.status, nothing.stderr]).to.satisfy(
      ([status, text]: [number, string]) => status === 1 && text.includes('[NOT_KNOWN]'),
    )
    const nobody = await plane.command('certs', 'revoke', '--cluster', 'c-9')
    expect(nobody.stderr).to.include('[NOT_KNOWN]')
    for (const wrong of [[], ['12'], ['--agent', 'a'], ['abcdef', '--cluster', 'c-1']])
      expect((await plane.command('certs', 'revoke', ...wrong)).status).to.equal(64)
  })

  it('has a lock for a cluster, which ends where it is unlocked, with the same certificates', async () => {
    const locked = await plane.command('clusters', 'lock', 'c-1', '--reason', 'audit')
    expect(locked.status).to.equal(0)
    const startedMs = Date.now()
    await eventually(() => agent.tunnel.state.name !== 'ready', 'the tunnel is cut')
    expect(Date.now() - startedMs).to.be.lessThan(SECOND_MS)
    await eventually(() => {
      const { state } = agent.tunnel
      return (
        state.name === 'backoff' &&
        state.cause.code === 'CLUSTER_LOCKED' &&
        state.cause.rawMessage.includes('audit')
      )
    }, 'it is told')
    await rejection(plane.enroll('a-2'), 'CLUSTER_LOCKED')
    const again = await plane.command('clusters', 'lock', 'c-1')
    expect([again.status, again.stdout]).to.deep.equal([0, 'cluster c-1 is locked already'])
    const typo = await plane.command('clusters', 'lock', 'c-9')
    expect(typo.stderr).to.include('no certificate was ever issued to cluster c-9')
    expect((await plane.command('clusters', 'unlock', 'c-1')).status).to.equal(0)
    agent.tunnel.hurry()
    await isUp(agent)
    expect((await plane.command('clusters', 'unlock', 'c-1')).stderr).to.include('[NOT_KNOWN]')
  })

  it('of a caller cuts its calls too', async () => {
    const client = await plane.connect('billing')
    const echo = () => client.cluster('c-1').service(Diagnostics).echo({}, { timeoutMs: 5000 })
    await echo()
    const { stdout } = await plane.command('certs', 'list', '--json')
    const rows = JSON.parse(stdout) as { serial: string; identity: string }[]
    const serial = rows.find(({ identity }) => identity === 'caller/billing')?.serial ?? ''
    await plane.command('certs', 'revoke', serial, '--reason', 'left')
    await eventually(
      () =>
        echo().then(
          () => false,
          () => true,
        ),
      'the calls fail',
    )
    // And it is told why, by each of its commands.
    const settings = join(plane.folder, 'callers/billing.yaml')
    const { port } = plane.addresses.callers
    const list = await runCli('gateway', [
      'clusters',
      'list',
      '--config',
      settings,
      '--gateway-address',
      `127.0.0.1:${String(port)}`,
    ])
    expect(list.stderr).to.include('IDENTITY_REVOKED').and.to.include('was revoked')
  })

  it('is published as CRLs that OpenSSL takes, over HTTPS', async () => {
    const serial = serialOf(agent)
    await plane.command('certs', 'revoke', serial)
    const url = `${plane.enrollUrl}/crl/agents.crl`
    const file = join(plane.folder, 'agents.crl')
    const [root, ca] = [plane.bundleFile, join(plane.folder, 'cp/ca/agents.pem')]
    const chain = join(plane.folder, 'leaf.pem')
    writeFileSync(chain, agent.credential.certificatePem)
    await eventually(async () => {
      await runToolBeside('curl', ['-sS', '--cacert', plane.bundleFile, '-o', file, url])
      return readCrl(readFileSync(file)).serials.has(serial)
    }, 'the list names it')
    const text = runTool('openssl', [
      'crl',
      '-in',
      file,
      '-inform',
      'DER',
      '-noout',
      '-text',
      '-CAfile',
      ca,
    ])
    expect(text.output).to.include('verify OK')
    expect(text.output.toLowerCase()).to.include(serial)
    const pem = join(plane.folder, 'agents.crl.pem')
    runTool('openssl', ['crl', '-in', file, '-inform', 'DER', '-out', pem])
    const verdict = runTool('openssl', [
      'verify',
      '-x509_strict',
      '-crl_check',
      '-CRLfile',
      pem,
      '-CAfile',
      root,
      '-untrusted',
      ca,
      chain,
    ])
    expect(verdict.output).to.include('certificate revoked')
    const missing = await runToolBeside('curl', [
      '-sS',
      '--cacert',
      root,
      `${plane.enrollUrl}/crl/none.crl`,
    ])
    expect(missing).to.include('no such list')
  })

  it('of a gateway puts a stolen gateway key out of use, and gives the gateway another', async () => {
    const identity = join(plane.folder, 'cp/identity/current')
    const [cert, key] = ['chain.pem', 'key.pem'].map((name) => readFileSync(join(identity, name)))
    const stolen = new X509Certificate(cert ?? '').serialNumber.toLowerCase()
    const { stdout } = await plane.command('certs', 'list')
    expect(stdout).to.include(`${stolen}  region/eu/gateway/gw-1`)
    await plane.command('certs', 'revoke', stolen, '--reason', 'stolen')
    await eventually(() => agent.tunnel.lastError?.code === 'IDENTITY_REVOKED', 'it is left')
    agent.tunnel.hurry()
    await isUp(agent)
    const { credential } = plane.gateway.own
    expect(new X509Certificate(credential.certificatePem).serialNumber).not.to.equal(
      stolen.toUpperCase(),
    )
    // Whoever holds the key is not taken for the gateway, nor after a restart of the agent.
    const thief = createServer({ cert, key, ALPNProtocols: ['postern/1'] }, (socket) =>
      socket.on('error', () => undefined),
    )
    await new Promise<void>((resolve) => thief.listen(0, '127.0.0.1', resolve))
    const { port } = thief.address() as AddressInfo
    agent.stop()
    const victim = plane.startAgent('a-1', { 'gateway.address': `localhost:${String(port)}` })
    await eventually(() => victim.tunnel.lastError?.code === 'IDENTITY_REVOKED', 'it is refused')
    thief.close()
  })

  it('is written down: who, what, why, when', async () => {
    const serial = serialOf(agent)
    await plane.command('certs', 'revoke', serial, '--reason', 'laptop lost')
    const { stdout } = await plane.command('events', '--json')
    const event = stdout
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .find(({ kind }) => kind === 'certificate.revoked')
    expect(event).to.include({ serial, detail: 'laptop lost' })
    expect(event?.actor).to.match(/^user /)
    expect((await plane.command('events')).stdout).to.include('certificate.revoked')
    await eventually(async () => {
      const { stdout: later } = await plane.command('events', '--json', '--identity', '/agent/a-1')
      return later.includes('handshake.refused') && later.includes('IDENTITY_REVOKED')
    }, 'a refused handshake is written down')
    await rejection(agent.changes.renewal?.renewNow() ?? Promise.resolve(), 'IDENTITY_REVOKED')
    // Written down after it was answered.
    await eventually(async () => {
      const { stdout: all } = await plane.command('events', '--json')
      return all.includes('enrolment.refused')
    }, 'a refused renewal is written down')
    expect((await plane.command('events', '--last', '0')).status).to.equal(64)
  })
})

/** The same certificate with the other signature that holds for it: (r, n - s) in place of (r, s). */
function withOtherSignature(chainPem: string): string {
  const [leaf = Buffer.alloc(0), ...rest] = pemBlocks(chainPem, 'CERTIFICATE')
  const reader = new DerReader(readOne(leaf, TAG.sequence).content)
  const [signed, algorithm] = [reader.next().raw, reader.next().raw]
  const pair = new DerReader(
    readOne(reader.next(TAG.bitString).content.subarray(1), TAG.sequence).content,
  )
  const [r, s] = [pair.next().raw, pair.next().content]
  const hex = (P256_ORDER - BigInt(`0x${s.toString('hex')}`)).toString(16)
  // Even, and with a zero in front, so that it is positive in any case; shortest form needs no more.
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
  const other = (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes
  const signature = sequence(r, element(TAG.integer, other))
  const bits = element(TAG.bitString, Buffer.from([0]), signature)
  const altered = sequence(signed, algorithm, bits)
  return [altered, ...rest].map((der) => pemText('CERTIFICATE', der)).join('')
}
