import { expect } from 'chai'
import { validatePath, type PathRequest } from '../../../src/identity/validation/path.ts'
import {
  dns,
  Extension,
  ip,
  KeyUsageFlags,
  make,
  nameConstraints,
  NOW_MS,
  uri,
  type CertificateShape,
  type Made,
} from '../../support/chain-builder.ts'

const CLIENT = '1.3.6.1.5.5.7.3.2'
const SERVER = '1.3.6.1.5.5.7.3.1'
const HOUR_MS = 3_600_000

interface Chain {
  readonly root?: CertificateShape
  readonly issuing?: CertificateShape
  readonly leaf?: CertificateShape
  readonly ask?: Partial<PathRequest>
}

async function chain({ root: rootShape, issuing: issuingShape, leaf: leafShape }: Chain): Promise<{
  root: Made
  issuing: Made
  leaf: Made
}> {
  const root = await make({ isCa: true, ...rootShape })
  const issuing = await make({ isCa: true, issuer: root, ...issuingShape })
  const leaf = await make({ issuer: issuing, ...leafShape })
  return { root, issuing, leaf }
}

function ask(
  leaf: Made,
  intermediates: readonly Made[],
  roots: readonly Made[],
  more = {},
): string[] {
  const facts = (list: readonly Made[]) => list.map((made) => made.facts)
  const verdict = validatePath({
    leaf: leaf.facts,
    intermediates: facts(intermediates),
    roots: facts(roots),
    timeMs: NOW_MS,
    role: undefined,
    ...more,
  })
  expect(verdict.isValid).to.equal(verdict.faults.length === 0 && verdict.reachesRoot)
  return verdict.faults.map(({ place, text }) => `${place} ${text}`)
}

async function faults(what: Chain): Promise<string[]> {
  const { root, issuing, leaf } = await chain(what)
  return ask(leaf, [issuing], [root], what.ask)
}

const unknownCritical = new Extension('1.3.6.1.4.1.99999.1', true, Buffer.from([5, 0]))
const twoOfIt = [1, 2].map(() => new Extension('1.3.6.1.4.1.99999.2', false, Buffer.from([5, 0])))

/** Each row breaks one rule, and is told that one. */
const BROKEN: readonly (readonly [string, Chain, RegExp])[] = [
  ['an expired leaf', { leaf: { notAfter: NOW_MS - HOUR_MS } }, /^leaf expired/],
  ['an expired issuer', { issuing: { notAfter: NOW_MS - HOUR_MS } }, /^intermediate expired/],
  ['an expired root', { root: { notAfter: NOW_MS - HOUR_MS } }, /^root expired/],
  ['a leaf of tomorrow', { leaf: { notBefore: NOW_MS + HOUR_MS } }, /^leaf is not valid before/],
  [
    'an issuer that is a leaf',
    { issuing: { isCa: false, keyUsage: KeyUsageFlags.keyCertSign } },
    /^intermediate is no authority/,
  ],
  ['an issuer without basic constraints', { issuing: { without: ['2.5.29.19'] } }, /no authority/],
  ['constraints that are not critical', { issuing: { basicCritical: false } }, /not critical/],
  [
    'an issuer that may not sign',
    { issuing: { keyUsage: KeyUsageFlags.cRLSign } },
    /may not sign certificates/,
  ],
  ['a path length exceeded', { root: { pathLength: 0 } }, /^root has a longer path below it/],
  ['an authority as leaf', { leaf: { isCa: true } }, /^leaf is an authority/],
  [
    'the wrong usage',
    { leaf: { usage: [SERVER] }, ask: { role: 'client' } },
    /^leaf lacks the extended key usage of a client/,
  ],
  [
    'any usage',
    { leaf: { usage: ['2.5.29.37.0'] }, ask: { role: 'client' } },
    /^leaf lacks the extended key usage/,
  ],
  [
    'an issuer limited to another usage',
    { issuing: { usage: [SERVER] }, leaf: { usage: [CLIENT] }, ask: { role: 'client' } },
    /^intermediate lacks/,
  ],
  [
    'an unknown critical extension',
    { leaf: { extra: [unknownCritical] } },
    /^leaf has the unknown critical/,
  ],
  [
    'one in the issuer',
    { issuing: { extra: [unknownCritical] } },
    /^intermediate has the unknown critical/,
  ],
  ['an extension twice', { leaf: { extra: twoOfIt } }, /stands twice/],
  [
    'a signature with SHA-1',
    { issuing: {}, leaf: { hash: 'SHA-1' } },
    /is signed with|issued by no certificate/,
  ],
  [
    'a small RSA key',
    {
      leaf: {
        keyAlgorithm: {
          name: 'RSASSA-PKCS1-v1_5',
          modulusLength: 1024,
          publicExponent: new Uint8Array([1, 0, 1]),
          hash: 'SHA-256',
        },
      },
    },
    /RSA key of 1024 bits/,
  ],
  [
    'a serial of 21 bytes',
    { leaf: { serial: '41'.repeat(21) } },
    /serial that is not positive or longer/,
  ],
  [
    'no authority key identifier',
    { leaf: { without: ['2.5.29.35'] } },
    /lacks an authority key identifier/,
  ],
  [
    'an issuer without key identifier',
    { issuing: { without: ['2.5.29.14'] } },
    /lacks a subject key identifier/,
  ],
  ['another name', { ask: { name: 'other.example.com' } }, /does not hold the name/],
  [
    'a name that is only in the subject',
    { leaf: { subject: 'CN=cn.example.com' }, ask: { name: 'cn.example.com' } },
    /does not hold/,
  ],
  [
    'a wildcard within a label',
    { leaf: { names: [{ type: 'dns', value: 'h*.example.com' }] } },
    /malformed DNS name/,
  ],
  [
    'a wildcard that would cover two labels',
    {
      leaf: { names: [{ type: 'dns', value: '*.example.com' }] },
      ask: { name: 'a.b.example.com' },
    },
    /does not hold/,
  ],
  [
    'a name outside of what is permitted',
    { issuing: { extra: [nameConstraints({ permitted: [dns('other.com')] })] } },
    /in no subtree that a CA above it permits/,
  ],
  [
    'a name that is excluded',
    { issuing: { extra: [nameConstraints({ excluded: [dns('example.com')] })] } },
    /excludes/,
  ],
  [
    'a wildcard over an excluded name (CVE-2025-61727)',
    {
      issuing: { extra: [nameConstraints({ excluded: [dns('host.example.com')] })] },
      leaf: { names: [{ type: 'dns', value: '*.example.com' }] },
    },
    /excludes/,
  ],
  [
    'an excluded address',
    {
      issuing: { extra: [nameConstraints({ excluded: [ip(10, 0, 0, 0, 255, 0, 0, 0)] })] },
      leaf: { names: [{ type: 'ip', value: '10.1.2.3' }] },
    },
    /excludes/,
  ],
  [
    'a URI below a permitted host',
    {
      issuing: { extra: [nameConstraints({ permitted: [uri('example.org')] })] },
      leaf: { names: [{ type: 'url', value: 'spiffe://sub.example.org/a' }] },
    },
    /permits/,
  ],
  [
    'constraints with a mask full of holes',
    {
      issuing: { extra: [nameConstraints({ permitted: [ip(10, 0, 0, 0, 255, 0, 255, 0)] })] },
      leaf: { names: [{ type: 'ip', value: '10.1.0.3' }] },
    },
    /mask/,
  ],
  [
    'constraints that are not critical',
    { issuing: { extra: [nameConstraints({ permitted: [dns('example.com')] }, false)] } },
    /name constraints that are not critical/,
  ],
  [
    'constraints in a leaf',
    { leaf: { extra: [nameConstraints({ permitted: [dns('example.com')] })] } },
    /leaf and has name constraints/,
  ],
]

describe('the path validator', () => {
  it('takes a chain that is right, in both roles, by name and by address', async () => {
    const names = [
      { type: 'dns', value: '*.example.com' },
      { type: 'ip', value: '10.1.2.3' },
      { type: 'ip', value: '2001:db8::1' },
    ] as const
    const made = await chain({ leaf: { usage: [CLIENT, SERVER], names } })
    for (const more of [
      {},
      { role: 'client' },
      { role: 'server', name: 'HOST.example.com' },
      { name: '10.1.2.3' },
      { name: '2001:DB8:0::1' },
    ])
      expect(ask(made.leaf, [made.issuing], [made.root], more)).to.deep.equal([])
  })

  for (const [what, shape, told] of BROKEN) {
    it(`refuses ${what}, and says so`, async () => {
      const found = await faults(shape)
      expect(found.join('\n')).to.match(told)
    })
  }

  it('lists every broken rule of the path', async () => {
    const found = await faults({
      issuing: { notAfter: NOW_MS - HOUR_MS },
      leaf: { usage: [SERVER], serial: '41'.repeat(21) },
      ask: { role: 'client', name: 'nobody.example.com' },
    })
    expect(found).to.have.lengthOf(4)
  })

  it('takes the last second of a certificate and not the next', async () => {
    const { root, issuing, leaf } = await chain({ leaf: { notAfter: NOW_MS } })
    expect(ask(leaf, [issuing], [root], { timeMs: NOW_MS + 999 })).to.deep.equal([])
    expect(ask(leaf, [issuing], [root], { timeMs: NOW_MS + 1000 })).to.have.lengthOf(1)
  })

  it('trusts no root that it was not given, not even one of the same name', async () => {
    const { root, issuing, leaf } = await chain({})
    const impostor = await make({ isCa: true, subject: root.subject })
    expect(ask(leaf, [issuing, root], [impostor])).to.deep.equal([
      'intermediate was issued by no certificate that is trusted or known',
    ])
    expect(ask(leaf, [issuing], [])).to.have.lengthOf(1)
  })

  it('finds the good path past an expired and a forged intermediate of the same name', async () => {
    const { root, issuing, leaf } = await chain({})
    const same = { isCa: true, subject: issuing.subject }
    const expired = await make({
      ...same,
      issuer: root,
      keys: issuing.keys,
      notAfter: NOW_MS - HOUR_MS,
    })
    const forged = await make({ ...same, issuer: root })
    expect(ask(leaf, [expired, forged, issuing], [root])).to.deep.equal([])
  })

  it('follows a cross-signed authority to whichever root is trusted, and ends in a circle', async () => {
    const [one, two] = [await make({ isCa: true }), await make({ isCa: true })]
    const oneByTwo = await make({ isCa: true, subject: one.subject, keys: one.keys, issuer: two })
    const twoByOne = await make({ isCa: true, subject: two.subject, keys: two.keys, issuer: one })
    const leaf = await make({ issuer: one })
    expect(ask(leaf, [oneByTwo, twoByOne], [two])).to.deep.equal([])
    expect(ask(leaf, [oneByTwo, twoByOne], [await make({ isCa: true })])).to.have.length.above(0)
  })

  it('gives up on a thicket of intermediates before it costs much', async () => {
    const keys = (await make({ isCa: true })).keys
    const subject = 'CN=thicket'
    const shape = { isCa: true, subject, issuer: { keys, subject } as Made }
    const thicket = await Promise.all(
      Array.from({ length: 60 }, () => make({ ...shape, keys: undefined as never })),
    )
    const leaf = await make({ issuer: { keys, subject } as Made })
    expect(ask(leaf, thicket, [await make({ isCa: true })])).to.have.length.above(0)
  })
})
