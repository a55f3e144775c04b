import { expect } from 'chai'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  Authority,
  USAGE_CLIENT,
  USAGE_SERVER,
  type LeafRequest,
} from '../../src/identity/authority.ts'
import { KEY_KINDS } from '../../src/identity/keys.ts'
import { pemBlocks } from '../../src/identity/pem.ts'
import { readCertificate } from '../../src/identity/validation/certificate.ts'
import { validatePath } from '../../src/identity/validation/path.ts'
import { openssl, runTool } from '../support/openssl.ts'

const HOUR_MS = 3_600_000
const DOMAIN = 'example.org'

describe('an authority', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-authority-'))
  const now = Date.now()
  const validity = { notBefore: new Date(now - HOUR_MS), notAfter: new Date(now + 24 * HOUR_MS) }
  const agentLeaf = {
    commonName: 'agent a-1 of c-1',
    uris: [`spiffe://${DOMAIN}/cluster/c-1/agent/a-1`],
    usage: [USAGE_CLIENT],
    ...validity,
  }
  const gatewayLeaf = {
    commonName: 'gateway gw-1',
    uris: [`spiffe://${DOMAIN}/region/eu/gateway/gw-1`],
    dnsNames: ['gw.example.com'],
    usage: [USAGE_SERVER],
    ...validity,
  }
  let root: Authority
  let agents: Authority
  let gateways: Authority

  const file = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }
  /** What OpenSSL, strictly, and our validator say of a leaf under an issuing CA. */
  async function judge(issuing: Authority, request: LeafRequest, role: 'client' | 'server') {
    const { certificatePem } = await issuing.issueLeaf(request)
    const files = [
      '-CAfile',
      file('root.pem', root.certificatePem),
      '-untrusted',
      file('issuing.pem', issuing.certificatePem),
      file('leaf.pem', certificatePem),
    ]
    const run = openssl(['verify', '-x509_strict', '-purpose', `ssl${role}`, ...files])
    const facts = (pem: string) => pemBlocks(pem, 'CERTIFICATE').map(readCertificate)
    const [leaf] = facts(certificatePem)
    if (leaf === undefined) throw new Error('no leaf')
    const ours = validatePath({
      leaf,
      intermediates: facts(issuing.certificatePem),
      roots: facts(root.certificatePem),
      timeMs: now,
      role,
    })
    expect(ours.isValid, JSON.stringify(ours.faults.map(({ text }) => text))).to.equal(
      run.status === 0,
    )
    return run
  }

  before(async () => {
    root = await Authority.createRoot('Acme, Inc root; O=x', validity, 'p384')
    const uriHosts = [DOMAIN]
    agents = await root.createIssuing('agents', validity, {
      usage: [USAGE_CLIENT],
      names: { uriHosts, dnsNames: [] },
    })
    gateways = await root.createIssuing('gateways', validity, {
      usage: [USAGE_SERVER],
      names: { uriHosts, dnsNames: ['gw.example.com'] },
    })
  })
  after(() => {
    rmSync(folder, { recursive: true })
  })

  for (const keyKind of KEY_KINDS) {
    it(`issues leaves with ${keyKind} keys that OpenSSL and certtool find nothing wrong with`, async () => {
      const client = await judge(agents, { ...agentLeaf, keyKind }, 'client')
      expect(client.output).to.include('OK')
      const server = await judge(gateways, { ...gatewayLeaf, keyKind }, 'server')
      expect(server.output).to.include('OK')
      const chain = ['leaf.pem', 'issuing.pem', 'root.pem'].map((name) => join(folder, name))
      const { output, status } = runTool('sh', [
        '-c',
        `cat ${chain.join(' ')} | certtool --verify-chain --verify-profile high`,
      ])
      expect([status, output]).to.satisfy(
        ([code, text]: [number, string]) =>
          code === 0 && text.includes('The certificate is trusted'),
      )
    })
  }

  for (const keyKind of KEY_KINDS) {
    it(`may itself have a ${keyKind} key`, async () => {
      const issuing = await root.createIssuing(`agents ${keyKind}`, validity, { keyKind })
      expect((await judge(issuing, agentLeaf, 'client')).output).to.include('OK')
    })
  }

  it('of agents can make no gateway, and one of gateways no agent', async () => {
    expect((await judge(agents, { ...gatewayLeaf, dnsNames: [] }, 'server')).status).not.to.equal(0)
    expect((await judge(gateways, agentLeaf, 'client')).status).not.to.equal(0)
  })

  it('is held to its names: no other trust domain, no DNS name, no address', async () => {
    for (const wrong of [
      { uris: ['spiffe://other.org/cluster/c-1/agent/a-1'] },
      { uris: ['spiffe://sub.example.org/cluster/c-1/agent/a-1'] },
      { dnsNames: ['gw.example.com'] },
      { ipAddresses: ['10.0.0.1'] },
      { ipAddresses: ['2001:db8::1'] },
    ])
      expect((await judge(agents, { ...agentLeaf, ...wrong }, 'client')).status).not.to.equal(0)
    const elsewhere = { ...gatewayLeaf, dnsNames: ['other.example.com'] }
    expect((await judge(gateways, elsewhere, 'server')).status).not.to.equal(0)
  })

  it('makes no authority below an issuing one, and no leaf that outlives it', async () => {
    const below = await agents.createIssuing('below', validity)
    expect((await judge(below, agentLeaf, 'client')).status).not.to.equal(0)
    const late = { ...agentLeaf, notAfter: new Date(now + 48 * HOUR_MS) }
    const { certificatePem } = await agents.issueLeaf(late)
    const [facts] = pemBlocks(certificatePem, 'CERTIFICATE').map(readCertificate)
    expect(facts?.notAfterMs).to.equal(Math.floor((now + 24 * HOUR_MS) / 1000) * 1000)
  })

  it('gives every certificate its own serial of 128 bits, and lets no name spill over', async () => {
    const serials = new Set<string>()
    for (let i = 0; i < 50; i++) {
      const { certificatePem } = await agents.issueLeaf({ ...agentLeaf, commonName: 'a, O=admins' })
      const [facts] = pemBlocks(certificatePem, 'CERTIFICATE').map(readCertificate)
      expect(facts?.serial).to.have.lengthOf(16)
      expect(facts?.subject.rdns).to.have.lengthOf(1)
      serials.add(facts?.serial.toString('hex') ?? '')
    }
    expect(serials.size).to.equal(50)
  })
})
