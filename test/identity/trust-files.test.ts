import { expect } from 'chai'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GatewayCrls } from '../../src/agent/credential/gateway-crls.ts'
import { PosternError } from '../../src/base/errors.ts'
import { Authority, USAGE_SERVER } from '../../src/identity/authority.ts'
import { isCrlOf, readCrl } from '../../src/identity/crl.ts'
import { KEY_KINDS } from '../../src/identity/keys.ts'
import { makeCrl } from '../../src/identity/make-crl.ts'
import { pemBlocks } from '../../src/identity/pem.ts'
import { readBundle, signBundle } from '../../src/identity/trust-bundle.ts'
import { readCertificate } from '../../src/identity/validation/certificate.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { openssl } from '../support/openssl.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const DOMAIN = 'example.org'
const NOW = Date.now()
const validity = { notBefore: new Date(NOW - 1000), notAfter: new Date(NOW + 86_400_000) }
const MUTATIONS = 3000

/** Every one of them differs from the original in a few bytes, or is cut off. */
function* mutations(bytes: Buffer, random: SeededRandom): Generator<Buffer> {
  for (let i = 0; i < MUTATIONS; i++) {
    const copy = Buffer.from(bytes)
    for (let j = 0; j <= i % 4; j++)
      copy[Math.floor(random.fraction() * copy.length)] = Math.floor(random.fraction() * 256)
    yield i % 5 === 0 ? copy.subarray(0, Math.floor(random.fraction() * copy.length)) : copy
  }
}

describe('lists of what is revoked', () => {
  let root: Authority
  let gateways: Authority
  let folder: string
  before(async () => {
    root = await Authority.createRoot('root', validity)
    gateways = await root.createIssuing('gateways', validity, { usage: [USAGE_SERVER] })
  })
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-crl-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  const list = (issuer: Authority, number: number, serials: readonly string[]) =>
    makeCrl(issuer, {
      number,
      thisUpdateMs: NOW,
      nextUpdateMs: NOW + 1000,
      revoked: serials.map((serial) => ({ serial, atMs: NOW })),
    })
  async function leaf(issuer: Authority): Promise<{ der: Buffer; serial: string }> {
    const { certificatePem } = await issuer.issueLeaf({
      commonName: 'g',
      uris: [`spiffe://${DOMAIN}/region/r/gateway/g`],
      usage: [USAGE_SERVER],
      ...validity,
    })
    const [der = Buffer.alloc(0)] = pemBlocks(certificatePem, 'CERTIFICATE')
    return { der, serial: readCertificate(der).serial.toString('hex') }
  }

  for (const keyKind of KEY_KINDS)
    it(`under a ${keyKind} key are what OpenSSL verifies, and are read back`, async () => {
      const issuer = await root.createIssuing(`g ${keyKind}`, validity, { keyKind })
      for (const serials of [[], ['4a01', '7f02'.padEnd(32, '0')]]) {
        const der = await list(issuer, 300, serials)
        const crl = readCrl(der)
        expect([crl.number, [...crl.serials]]).to.deep.equal([300, serials])
        expect(isCrlOf(crl, readCertificate(issuer.der))).to.equal(true)
        expect(isCrlOf(crl, readCertificate(gateways.der))).to.equal(false)
        const [ca, file] = [join(folder, 'ca.pem'), join(folder, 'crl.der')]
        writeFileSync(ca, issuer.certificatePem)
        writeFileSync(file, der)
        const run = openssl(['crl', '-in', file, '-inform', 'DER', '-noout', '-CAfile', ca])
        expect(run.output).to.include('verify OK')
      }
    })

  it('never make the reader do anything but answer, whatever their bytes', async () => {
    const der = await list(gateways, 7, ['4a01'])
    const issuer = readCertificate(gateways.der)
    for (const wrong of mutations(der, new SeededRandom(5))) {
      try {
        const crl = readCrl(wrong)
        // What is read nevertheless is not what was signed, unless the change was of no account.
        if (isCrlOf(crl, issuer)) expect(crl.signed.equals(readCrl(der).signed)).to.equal(true)
      } catch (error) {
        expect(error).to.be.instanceOf(Error).and.not.instanceOf(TypeError)
      }
    }
  })

  it('are taken from CAs under our root alone, never for an older one, and kept', async () => {
    const log = new LogRecorder()
    const roots = [readCertificate(root.der)]
    const crls = new GatewayCrls(folder, log)
    const [bad, good] = [await leaf(gateways), await leaf(gateways)]
    const otherRoot = await Authority.createRoot('root', validity)
    const impostor = await otherRoot.createIssuing('gateways', validity, { usage: [USAGE_SERVER] })
    const forged = await list(impostor, 99, [good.serial])
    crls.use([forged, Buffer.from('x'), Buffer.alloc(0)], [impostor.der, gateways.der], roots)
    // A leaf is no CA, whoever issued it.
    crls.use([forged], [good.der, Buffer.from('x')], roots)
    expect(crls.isRevoked(good.der)).to.equal(false)
    expect(readdirSync(folder)).to.deep.equal([])
    crls.use([await list(gateways, 8, [bad.serial])], [gateways.der], roots)
    expect([crls.isRevoked(bad.der), crls.isRevoked(good.der)]).to.deep.equal([true, false])
    crls.use([await list(gateways, 7, [])], [gateways.der], roots)
    expect(crls.isRevoked(bad.der)).to.equal(true)
    const again = new GatewayCrls(folder, log)
    expect(again.isRevoked(bad.der)).to.equal(true)
    again.use([await list(gateways, 9, [])], [gateways.der], roots)
    expect(again.isRevoked(bad.der)).to.equal(false)
    writeFileSync(join(folder, readdirSync(folder)[0] ?? ''), 'garbage')
    expect(new GatewayCrls(folder, log).isRevoked(bad.der)).to.equal(false)
  })
})

describe('trust bundles', () => {
  it('never make the reader do anything but answer, and a changed one is not taken', async () => {
    const root = await Authority.createRoot('root', validity)
    const issuing = await root.createIssuing('issuing', validity)
    const content = { trustDomain: DOMAIN, version: 3, madeAtMs: NOW }
    const bundle = { ...content, roots: [root.der], issuing: [issuing.der] }
    const signed = signBundle(bundle, [root])
    const trusted = [readCertificate(root.der)]
    const original = readBundle(signed, trusted, DOMAIN)
    expect(original.issuingKeys).to.deep.equal([issuing.keyId])
    for (const wrong of mutations(signed, new SeededRandom(9))) {
      try {
        // A change outside of what is signed, such as in an unknown field, changes nothing.
        expect(readBundle(wrong, trusted, DOMAIN)).to.deep.equal(original)
      } catch (error) {
        expect((error as PosternError).code).to.equal('BUNDLE_REFUSED')
      }
    }
  })

  for (const keyKind of KEY_KINDS)
    it(`may be signed by a root with a ${keyKind} key`, async () => {
      const root = await Authority.createRoot('root', validity, keyKind)
      const other = await Authority.createRoot('other', validity)
      const content = { trustDomain: DOMAIN, version: 1, madeAtMs: NOW }
      const signed = signBundle({ ...content, roots: [other.der], issuing: [] }, [other, root])
      const bundle = readBundle(signed, [readCertificate(root.der)], DOMAIN)
      expect(bundle.roots.map(({ der }) => der)).to.deep.equal([other.der])
    })
})
