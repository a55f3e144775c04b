import { expect } from 'chai'
import { createPrivateKey } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import { readFileSync } from 'node:fs'
import type { Agent } from '../../src/agent/agent.ts'
import { diagnose } from '../../src/agent/enrolment/proof-client.ts'
import { statusNow } from '../support/status-now.ts'
import { Authority, USAGE_CLIENT } from '../../src/identity/authority.ts'
import { makeProof, type ProofPurpose } from '../../src/identity/key-proof.ts'
import { pemBlocks } from '../../src/identity/pem.ts'
import { exporterOf } from '../../src/transport/tls-exporter.ts'
import { rejection } from '../support/code-of.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

describe('an agent that is refused', function () {
  let plane: ControlPlane

  beforeEach(async () => {
    plane = await ControlPlane.start()
  })
  afterEach(() => {
    plane.stop()
  })

  const isUp = (of: Agent) => eventually(() => of.tunnel.state.name === 'ready', 'the tunnel is up')
  const ago = (ms: number): number => Date.now() - ms
  const verdictOf = async (name: string) => {
    const trusting = { credential: plane.makeAgent(name).credential, issuingKeys: [] }
    return (await diagnose(new URL(plane.enrollUrl), trusting)).verdict
  }

  it('as it was off past its expiry recovers by itself, within the grace, with a new key', async () => {
    await plane.plant('a-1', { fromMs: ago(2 * DAY_MS), toMs: ago(DAY_MS) })
    const agent = plane.startAgent('a-1')
    const before = agent.credential.keyPem
    expect(statusNow(agent, Date.now()).reasons.join()).to.include('expired')
    await isUp(agent)
    expect(agent.credential.keyPem).not.to.equal(before)
    expect(agent.credential.notAfterMs).to.be.greaterThan(Date.now())
  })

  it('past the grace stays, says so, and is let in after agent enroll --force without a restart', async () => {
    await plane.plant('a-1', { fromMs: ago(20 * DAY_MS), toMs: ago(8 * DAY_MS) })
    const agent = plane.startAgent('a-1')
    await rejection(agent.changes.renewal?.renewNow() ?? Promise.resolve(), 'CERT_EXPIRED')
    await eventually(() => agent.changes.diagnosis?.verdict === 'expired', 'it has asked why')
    const { health, reasons } = statusNow(agent, Date.now())
    expect(health).to.equal('down')
    expect(reasons.join()).to.include('the gateway says of our certificate: expired')
    await plane.enroll('a-1')
    await agent.reload()
    agent.tunnel.hurry()
    await isUp(agent)
  })

  it('has no grace where the gateway gives none', async () => {
    plane.gateway.stop()
    await plane.startGateway({ 'enroll.expiredGrace': '0s' })
    await plane.plant('a-1', { fromMs: ago(2 * DAY_MS), toMs: ago(HOUR_MS) })
    const agent = plane.makeAgent('a-1')
    await rejection(agent.changes.renewal?.renewNow() ?? Promise.resolve(), 'CERT_EXPIRED')
  })

  it('is told which of all reasons it is', async () => {
    const life = { fromMs: ago(HOUR_MS), toMs: ago(-DAY_MS) }
    await plane.plant('fine', life)
    await plane.plant('expired', { fromMs: ago(DAY_MS), toMs: ago(HOUR_MS) })
    await plane.plant('early', { fromMs: ago(-HOUR_MS), toMs: ago(-DAY_MS) })
    await plane.plant('old', { ...life, state: 'superseded' })
    await plane.plant('unknown', { ...life, isKnown: false })
    await plane.plant('revoked', life)
    await plane.command('certs', 'revoke', '--cluster', 'c-1', '--agent', 'revoked')
    await plane.gateway.access?.refresh()
    const names = ['fine', 'expired', 'early', 'old', 'unknown', 'revoked']
    const verdicts = ['fine', 'expired', 'not-yet-valid', 'superseded', 'unknown-issuer', 'revoked']
    for (const [i, name] of names.entries()) expect(await verdictOf(name)).to.equal(verdicts[i])
    await plane.command('clusters', 'lock', 'c-1')
    await plane.gateway.access?.refresh()
    expect(await verdictOf('fine')).to.equal('locked')
  })

  it('asks by itself after a close that explains nothing', async () => {
    const validity = { notBefore: new Date(ago(DAY_MS)), notAfter: new Date(ago(-DAY_MS)) }
    const root = await Authority.createRoot('another', validity)
    const authority = await root.createIssuing('another', validity, { usage: [USAGE_CLIENT] })
    await plane.plant('a-1', {
      fromMs: ago(HOUR_MS),
      toMs: ago(-HOUR_MS),
      authority,
      isKnown: false,
    })
    const agent = plane.startAgent('a-1')
    await eventually(
      () => agent.changes.diagnosis?.verdict === 'unknown-issuer',
      'it has asked why',
    )
    expect(agent.tunnel.lastError?.code).to.equal('PEER_REFUSED')
    expect(statusNow(agent, Date.now()).reasons.join()).to.include('unknown-issuer')
  })

  describe('and whoever asks in its place', () => {
    /** One request over a connection of its own, with a body made from its exporter. */
    async function post(
      path: ProofPurpose,
      bodyOf: (exporter: Buffer) => string,
      more: { maxVersion?: 'TLSv1.2' } = {},
    ): Promise<string> {
      const port = plane.addresses.enroll?.port ?? 0
      const ca = readFileSync(plane.bundleFile)
      return await new Promise((resolve, reject) => {
        const socket: TLSSocket = connect(
          { port, host: '127.0.0.1', servername: 'localhost', ca, ...more },
          () => {
            const body = bodyOf(exporterOf(socket) ?? Buffer.alloc(32))
            socket.write(
              `POST /.well-known/postern/${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`,
            )
          },
        )
        let text = ''
        socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
        socket.once('close', () => {
          resolve(text)
        })
        socket.once('error', reject)
      })
    }
    let certificate: string
    let keyPem: string

    beforeEach(async () => {
      await plane.plant('a-1', { fromMs: ago(2 * DAY_MS), toMs: ago(DAY_MS) })
      const { credential } = plane.makeAgent('a-1')
      certificate = pemBlocks(credential.certificatePem, 'CERTIFICATE')[0]?.toString('base64') ?? ''
      keyPem = credential.keyPem
    })

    const proof = (exporter: Buffer, purpose: ProofPurpose): string =>
      makeProof(createPrivateKey(keyPem), purpose, exporter).toString('base64')

    it('must prove to hold the key, on this very connection, for this very purpose', async () => {
      const body = (signature: string): string => JSON.stringify({ certificate, signature })
      expect(await post('diagnose', (e) => body(proof(e, 'diagnose')))).to.include('"expired"')
      let seen = Buffer.alloc(0)
      await post('diagnose', (exporter) => {
        seen = Buffer.from(exporter)
        return body(proof(exporter, 'diagnose'))
      })
      for (const wrong of [
        () => body(proof(seen, 'diagnose')),
        (exporter: Buffer) => body(proof(exporter, 'recover')),
        () => body(Buffer.alloc(70).toString('base64')),
      ])
        expect(await post('diagnose', wrong))
          .to.include('403')
          .and.to.include('CERT_UNTRUSTED')
      const below = await post('diagnose', (e) => body(proof(e, 'diagnose')), {
        maxVersion: 'TLSv1.2',
      })
      expect(below).to.include('400').and.to.include('TLS 1.3 is needed')
    })

    it('gets a clear answer to nonsense, and nothing else', async () => {
      for (const wrong of [
        '',
        'null',
        '[]',
        '{"certificate": 7}',
        '{"certificate": "-----BEGIN"}',
        JSON.stringify({ certificate, signature: '' }),
      ])
        expect(await post('recover', () => wrong)).to.match(/^HTTP\/1.1 400 [^]*MALFORMED_CALL/)
      for (const der of ['MAA=', Buffer.alloc(20_000, 0x30).toString('base64')]) {
        const body = JSON.stringify({ certificate: der, signature: 'AAAA', signingRequest: 'AAAA' })
        expect(await post('recover', () => body)).to.match(/^HTTP\/1.1 403 [^]*CERT_LEAF_RULES/)
      }
      const noRequest = await post('recover', (exporter) =>
        JSON.stringify({
          certificate,
          signature: proof(exporter, 'recover'),
          signingRequest: 'AAAA',
        }),
      )
      expect(noRequest).to.match(/^HTTP\/1.1 400 [^]*CSR_INVALID/)
    })

    it('is told nothing of certificates in another trust domain', async () => {
      const validity = { notBefore: new Date(ago(DAY_MS)), notAfter: new Date(ago(-DAY_MS)) }
      const root = await Authority.createRoot('another', validity)
      const leaf = await root.issueLeaf({
        commonName: 'x',
        uris: [`spiffe://not.${DOMAIN}/cluster/c-1/agent/a-1`],
        usage: [USAGE_CLIENT],
        ...validity,
      })
      const [der = Buffer.alloc(0)] = pemBlocks(leaf.certificatePem, 'CERTIFICATE')
      const answer = await post('diagnose', (exporter) =>
        JSON.stringify({
          certificate: der.toString('base64'),
          signature: makeProof(createPrivateKey(leaf.keyPem), 'diagnose', exporter).toString(
            'base64',
          ),
        }),
      )
      expect(answer).to.include('IDENTITY_TRUST_DOMAIN')
    })
  })
})
