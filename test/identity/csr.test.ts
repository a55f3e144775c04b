import { expect } from 'chai'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { readCertsOnly, writeCertsOnly } from '../../src/identity/certs-only.ts'
import { makeSigningRequest, readSigningRequest } from '../../src/identity/csr.ts'
import { KEY_KINDS, makeKey, publicDer, spkiPin } from '../../src/identity/keys.ts'
import { pemBlocks, pemText } from '../../src/identity/pem.ts'
import { make } from '../support/chain-builder.ts'
import { codeOf } from '../support/code-of.ts'
import { openssl } from '../support/openssl.ts'

describe('a certificate signing request', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-csr-'))
  after(() => {
    rmSync(folder, { recursive: true })
  })

  /** A request by OpenSSL, in DER. */
  function request(key: readonly string[], ...more: readonly string[]): Buffer {
    const path = join(folder, 'key.pem')
    expect(openssl(['genpkey', ...key, '-out', path]).status).to.equal(0)
    const run = openssl([
      'req',
      '-new',
      '-key',
      path,
      '-subj',
      '/CN=anything',
      ...more,
      '-outform',
      'DER',
    ])
    expect(run.status, run.output).to.equal(0)
    return run.stdout
  }
  const P256 = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']
  const rsa = (bits: number): string[] => [
    '-algorithm',
    'RSA',
    '-pkeyopt',
    `rsa_keygen_bits:${String(bits)}`,
  ]

  for (const kind of KEY_KINDS) {
    it(`with a ${kind} key of ours is one that OpenSSL verifies, and that we read`, async () => {
      const key = await makeKey(kind)
      const der = makeSigningRequest(key)
      const run = openssl(['req', '-inform', 'DER', '-verify', '-noout'], der)
      expect([run.status, run.output]).to.satisfy(
        ([status, text]: [number, string]) => status === 0 && text.includes('verify OK'),
      )
      expect(readSigningRequest(der).publicKeyDer).to.deep.equal(publicDer(key))
    })
  }

  it('by OpenSSL is taken for its key alone, whatever else it asks for', () => {
    const wishes = [
      '-addext',
      'basicConstraints=critical,CA:TRUE',
      '-addext',
      'subjectAltName=URI:spiffe://x/y',
    ]
    for (const key of [P256, ['-algorithm', 'ED25519'], rsa(2048)])
      expect(readSigningRequest(request(key, ...wishes)).publicKeyDer.length).to.be.greaterThan(40)
  })

  it('of a weak key or an odd algorithm is refused', () => {
    const odd: readonly (readonly string[])[] = [
      rsa(1024),
      ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:secp256k1'],
      [
        '-algorithm',
        'EC',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-pkeyopt',
        'ec_param_enc:explicit',
      ],
      ['-algorithm', 'ED448'],
    ]
    for (const key of odd) codeOf(() => readSigningRequest(request(key)), 'CSR_INVALID')
    const sha1 = request(P256, '-sha1')
    codeOf(() => readSigningRequest(sha1), 'CSR_INVALID')
  })

  it('with thousands of names is refused by its size, before it is decoded', () => {
    const names = Array.from({ length: 4000 }, (_, i) => `DNS:n${String(i)}.example.com`).join()
    const der = request(P256, '-addext', `subjectAltName=${names}`)
    expect(() => readSigningRequest(der)).to.throw('larger than 16384 bytes')
  })

  it('proves possession, or is refused', async () => {
    const [mine, other] = [await makeKey('p256'), await makeKey('p256')]
    const stolen = makeSigningRequest(mine)
    const at = stolen.indexOf(publicDer(mine))
    publicDer(other).copy(stolen, at)
    expect(() => readSigningRequest(stolen)).to.throw('signature does not hold')
  })

  it('never does more than be refused, whatever its bytes', async () => {
    const good = makeSigningRequest(await makeKey('p256'))
    const change = fc.record({ at: fc.nat(good.length - 1), to: fc.integer({ min: 0, max: 255 }) })
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Buffer.from(good)
        for (const { at, to } of changes) bytes[at] = to
        if (!bytes.equals(good)) codeOf(() => readSigningRequest(bytes), 'CSR_INVALID')
      }),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        codeOf(() => readSigningRequest(Buffer.from(bytes)), 'CSR_INVALID')
      }),
    )
  })
})

describe('a certs-only PKCS#7', () => {
  it('is one that OpenSSL prints, and is read back', async () => {
    const made = [await make({ isCa: true }), await make()].map(({ facts }) => facts.der)
    const der = writeCertsOnly(made)
    const { status, stdout } = openssl(['pkcs7', '-inform', 'DER', '-print_certs'], der)
    expect(status).to.equal(0)
    expect(pemBlocks(stdout.toString(), 'CERTIFICATE')).to.deep.equal(made)
    expect(readCertsOnly(der)).to.deep.equal(made)
  })

  it('by OpenSSL is read', async () => {
    const { der } = (await make()).facts
    const path = join(mkdtempSync(join(tmpdir(), 'postern-pkcs7-')), 'a.pem')
    writeFileSync(path, pemText('CERTIFICATE', der))
    const run = openssl(['crl2pkcs7', '-nocrl', '-certfile', path, '-outform', 'DER'])
    rmSync(dirname(path), { recursive: true })
    expect(readCertsOnly(run.stdout)).to.deep.equal([der])
  })

  it('of too many certificates, cut off or of another kind is refused', async () => {
    const { der } = (await make()).facts
    const many = writeCertsOnly(Array.from({ length: 17 }, () => der))
    for (const bytes of [many, writeCertsOnly([der]).subarray(0, -1), der, Buffer.alloc(0)])
      expect(() => readCertsOnly(bytes)).to.throw(Error)
  })
})

describe('a pin', () => {
  it('is what OpenSSL makes of the same key', async () => {
    const { facts } = await make()
    const { publicKey } = new X509Certificate(facts.der)
    const key = publicKey.export({ type: 'spki', format: 'der' })
    const digest = openssl(['dgst', '-sha256', '-r'], key).output.slice(0, 64)
    expect(spkiPin(facts.publicKey)).to.equal(`sha256:${digest}`)
  })
})
