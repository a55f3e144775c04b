import { expect } from 'chai'
import fc from 'fast-check'
import { readCertificate } from '../../../src/identity/validation/certificate.ts'
import { validatePath } from '../../../src/identity/validation/path.ts'
import { pemBlocks, pemText } from '../../../src/identity/pem.ts'
import { der, make, NOW_MS } from '../../support/chain-builder.ts'

describe('a certificate', () => {
  it('is read with nothing before, after or left out', async () => {
    const { facts } = await make({ subject: 'CN=Some One, O=  Acme   Inc ' })
    expect(facts.version).to.equal(3)
    expect(facts.subject.rdns).to.have.lengthOf(2)
    expect(facts.subject.key).to.include('acme inc')
    for (const bytes of [
      Buffer.concat([facts.der, Buffer.from([0])]),
      facts.der.subarray(0, -1),
      Buffer.concat([Buffer.from([0]), facts.der]),
      Buffer.alloc(0),
      Buffer.from('3080', 'hex'),
    ])
      expect(() => readCertificate(bytes)).to.throw(Error)
  })

  it('with bytes appended inside the outer length is no certificate', async () => {
    const { facts } = await make()
    const content = facts.der.subarray(4)
    expect(() => readCertificate(der(0x30, content, Buffer.from([5, 0])))).to.throw('left over')
  })

  it('never makes the reader or the validator do anything but answer, whatever its bytes', async () => {
    const root = await make({ isCa: true })
    const { facts } = await make({ issuer: root })
    const flips = fc.array(
      fc.record({ at: fc.nat(facts.der.length - 1), to: fc.integer({ min: 0, max: 255 }) }),
      { minLength: 1, maxLength: 3 },
    )
    fc.assert(
      fc.property(flips, (changes) => {
        const bytes = Buffer.from(facts.der)
        for (const { at, to } of changes) bytes[at] = to
        if (bytes.equals(facts.der)) return
        let leaf
        try {
          leaf = readCertificate(bytes)
        } catch (error) {
          expect(error).to.be.instanceOf(Error)
          return
        }
        const asked = { intermediates: [], roots: [root.facts], timeMs: NOW_MS, role: undefined }
        expect(validatePath({ leaf, ...asked }).isValid).to.equal(false)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('PEM', () => {
  const bytes = Buffer.from('some bytes that are no certificate')

  it('is read back as it was written, text around it or not', () => {
    const text = `a person's words\n${pemText('CERTIFICATE', bytes)}${pemText('X509 CRL', bytes)}`
    expect(pemBlocks(text, 'CERTIFICATE')).to.deep.equal([bytes])
    expect(pemBlocks('', 'CERTIFICATE')).to.deep.equal([])
  })

  it('is refused where a block is cut off, empty or no base64', () => {
    const good = pemText('CERTIFICATE', bytes)
    for (const text of [
      good.slice(0, -10),
      good.replace('c29t', 'c2-t'),
      '-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n',
      `${good}-----BEGIN CERTIFICATE-----\nAAAA`,
    ])
      expect(() => pemBlocks(text, 'CERTIFICATE')).to.throw(Error)
  })
})
