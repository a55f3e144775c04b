import { expect } from 'chai'
import { createPublicKey } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { bundlesSince } from '../../src/agent/enrolment/proof-client.ts'
import { Authority, USAGE_SERVER } from '../../src/identity/authority.ts'
import { readAuthority } from '../../src/identity/authority-files.ts'
import { readBundle, signBundle } from '../../src/identity/trust-bundle.ts'
import { DIRECT } from '../../src/transport/egress.ts'
import { CaSteps, isUp } from '../support/ca-steps.ts'
import { codeOf, rejection } from '../support/code-of.ts'
import { DOMAIN, type ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'

describe('whom to trust, through a change of CA', function () {
  let steps: CaSteps
  let plane: ControlPlane
  let root: string
  let newRoot: string

  beforeEach(async () => {
    steps = await CaSteps.start()
    ;({ plane, root, newRoot } = steps)
  })
  afterEach(() => {
    plane.stop()
  })

  const ca = (...args: readonly string[]) => steps.ca(...args)
  const whenReady = () => steps.whenReady()

  it('is no holder of a certificate of a retired CA', async () => {
    await plane.enroll('a-1')
    await ca('prepare', '--root', root)
    await ca('activate', '--force')
    await ca('retire', '--force')
    const agent = plane.startAgent('a-1', { 'identity.enrollUrl': 'https://localhost:1' })
    await eventually(() => {
      const { state } = agent.tunnel
      return state.name === 'backoff' && state.cause.code === 'CA_RETIRED'
    }, 'it is refused')
  })

  it('is no gateway of a retired issuing CA either: a stolen key of it is of no use', async () => {
    await plane.enroll('a-1')
    const agent = plane.startAgent('a-1')
    await isUp(agent)
    const old = readAuthority(join(plane.folder, 'cp/ca'), 'gateways')
    await ca('prepare', '--root', root)
    await whenReady()
    await ca('activate')
    await whenReady()
    const { bundleVersion } = await ca('retire')
    await eventually(() => agent.store.trust.version === bundleVersion, 'it has heard of it')
    const forged = await old.issueLeaf({
      commonName: 'forged',
      uris: [`spiffe://${DOMAIN}/region/eu/gateway/gw-1`],
      dnsNames: ['localhost'],
      usage: [USAGE_SERVER],
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e7),
    })
    const cert = forged.certificatePem + old.certificatePem
    const tls = { cert, key: forged.keyPem, ALPNProtocols: ['postern/1'] }
    const server = createServer(tls, (socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    agent.stop()
    const victim = plane.startAgent('a-1', { 'gateway.address': `localhost:${String(port)}` })
    await eventually(() => victim.tunnel.lastError?.code === 'IDENTITY_REVOKED', 'it is not taken')
    server.close()
  })

  it('is told to agents although a look at the store has failed halfway', async () => {
    await plane.enroll('a-1')
    const agent = plane.startAgent('a-1')
    await isUp(agent)
    const { ca: authority } = plane.gateway
    const refresh = authority?.crls.refresh.bind(authority.crls)
    let failures = 3
    if (authority !== undefined)
      authority.crls.refresh = async () => {
        if (failures-- > 0) throw new Error('the disk is full')
        await refresh?.()
      }
    const { bundleVersion } = await ca('prepare', '--root', root)
    await eventually(() => agent.store.trust.version === bundleVersion, 'it has heard of it')
    expect(failures).to.be.lessThan(1)
  })

  it('is changed only with the signature of a root that they trust', async () => {
    await plane.enroll('a-1')
    const agent = plane.startAgent('a-1')
    await isUp(agent)
    const validity = {
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
    }
    const hostile = await Authority.createRoot('hostile', validity)
    const ours = readAuthority(root, 'root')
    const body = {
      trustDomain: DOMAIN,
      version: 7,
      roots: [hostile.der],
      issuing: [],
      madeAtMs: Date.now(),
    }
    const roots = agent.store.roots
    await rejection(agent.changes.adopt([signBundle(body, [hostile])]), 'BUNDLE_REFUSED')
    const cases: readonly (readonly [string, Uint8Array])[] = [
      ['garbage', Buffer.from('garbage')],
      ['too large', Buffer.alloc(100_000)],
      ['another domain', signBundle({ ...body, trustDomain: 'x.test' }, [ours])],
      ['no root', signBundle({ ...body, roots: [] }, [ours])],
      ['a root that is no CA', signBundle({ ...body, roots: [await leafOf(ours)] }, [ours])],
      ['a root that is garbage', signBundle({ ...body, roots: [Buffer.from('x')] }, [ours])],
      ['too many', signBundle({ ...body, issuing: Array(17).fill(ours.der) as Buffer[] }, [ours])],
    ]
    for (const [what, bytes] of cases)
      expect(
        codeOf(() => readBundle(bytes, roots, DOMAIN), 'BUNDLE_REFUSED').message,
        what,
      ).to.be.a('string')
    // Signed, but the gateway is not under the root that is left: tried on a tunnel, and not kept.
    const dropping = signBundle(body, [ours])
    await agent.changes.adopt([dropping]).then(
      () => expect.fail('it was taken'),
      () => undefined,
    )
    expect(agent.store.trust.version).to.equal(0)
    expect(agent.tunnel.state.name).to.equal('ready')
    // An older one than the one held is left, whoever signed it.
    const wide = { ...body, roots: [ours.der, hostile.der] }
    expect(await agent.changes.adopt([signBundle(wide, [ours])])).to.equal(7)
    expect(await agent.changes.adopt([signBundle({ ...wide, version: 6 }, [ours])])).to.equal(7)
    agent.stop()
    expect(plane.makeAgent('a-1').store.trust.version).to.equal(7)
  })

  it('is published for who cannot verify the gateway any more', async () => {
    const url = new URL(plane.enrollUrl)
    expect(await bundlesSince(url, 0, DIRECT)).to.deep.equal([])
    await ca('prepare', '--root', root, '--new-root', newRoot)
    await plane.gateway.access?.refresh()
    expect(await bundlesSince(url, 0, DIRECT)).to.have.lengthOf(1)
    expect(await bundlesSince(url, 1, DIRECT)).to.deep.equal([])
  })

  /** Folder of a generation, within ca.directory. */
  async function leafOf(authority: Authority): Promise<Buffer> {
    const made = await Authority.createRoot('x', {
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
    })
    const certificate = await authority.issue(createPublicKey(made.key), {
      commonName: 'x',
      uris: [],
      usage: [],
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
    })
    return Buffer.from(certificate.rawData)
  }
})
