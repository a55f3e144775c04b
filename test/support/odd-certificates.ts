import { createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { der } from './chain-builder.ts'

/** One certificate that is odd in some way, signed by its own key. */
export interface OddCertificate {
  readonly what: string
  readonly certificatePem: string
  readonly keyPem: string
}

const SEQUENCE = 0x30
const SET = 0x31
const OID = 0x06
const CN = Buffer.from([0x55, 0x04, 0x03])
const STRING_TYPES = [0x0c, 0x12, 0x13, 0x14, 0x16, 0x1a, 0x1b, 0x1c, 0x1e, 0x04, 0x05, 0x03]

const rdn = (tag: number, value: Buffer): Buffer =>
  der(SET, der(SEQUENCE, der(OID, CN), der(tag, value)))
const name = (...parts: readonly Buffer[]): Buffer => der(SEQUENCE, ...parts)
const usual = name(rdn(0x0c, Buffer.from('odd')))
const huge = (count: number): Buffer =>
  name(...Array.from({ length: count }, (_, i) => rdn(0x0c, Buffer.from(`part ${String(i)}`))))

const NAMES: Readonly<Record<string, Buffer>> = {
  usual,
  empty: name(),
  'empty value': name(rdn(0x0c, Buffer.alloc(0))),
  repeated: name(rdn(0x0c, Buffer.from('a')), rdn(0x0c, Buffer.from('a'))),
  'several in one set': name(
    der(
      SET,
      ...['a', 'b'].map((text) => der(SEQUENCE, der(OID, CN), der(0x0c, Buffer.from(text)))),
    ),
  ),
  'with NUL': name(rdn(0x0c, Buffer.from('a\0b'))),
  'with line ends': name(rdn(0x0c, Buffer.from('a\nCN=b\r\n\u202e'))),
  'UTF-8 that is none': name(rdn(0x0c, Buffer.from([0xff, 0xfe, 0x80]))),
  '400 parts': huge(400),
  'one of 5 000 bytes': name(rdn(0x0c, Buffer.alloc(5000, 0x61))),
  ...Object.fromEntries(
    STRING_TYPES.map((tag) => [
      `string type ${String(tag)}`,
      name(rdn(tag, Buffer.from([0, 0x41, 0, 0x42]))),
    ]),
  ),
}

const time = (tag: number, text: string): Buffer => der(tag, Buffer.from(text))
const TIMES: Readonly<Record<string, readonly [Buffer, Buffer]>> = {
  usual: [time(0x17, '260101000000Z'), time(0x17, '281231235959Z')],
  'of 1950': [time(0x17, '500101000000Z'), time(0x17, '500102000000Z')],
  'of 9999': [time(0x18, '99990101000000Z'), time(0x18, '99991231235959Z')],
  'month 13': [time(0x17, '261301000000Z'), time(0x17, '281301000000Z')],
  'no digits': [time(0x17, 'yesterday'), time(0x17, 'tomorrow')],
  'with an offset': [time(0x17, '2601010000+0100'), time(0x17, '2812312359-0100')],
  reversed: [time(0x17, '281231235959Z'), time(0x17, '260101000000Z')],
}

const SERIALS: Readonly<Record<string, Buffer>> = {
  usual: Buffer.from([1]),
  negative: Buffer.from([0x80]),
  zero: Buffer.from([0]),
  'of 100 bytes': Buffer.alloc(100, 0x41),
}

const extension = (oid: readonly number[], value: Buffer, critical = false): Buffer =>
  der(
    SEQUENCE,
    der(OID, Buffer.from(oid)),
    ...(critical ? [der(1, Buffer.from([0xff]))] : []),
    der(4, value),
  )
const SAN = [0x55, 0x1d, 0x11]
const uri = (text: string): Buffer => der(0x86, Buffer.from(text))
const list = (...parts: readonly Buffer[]): Buffer => der(0xa3, der(SEQUENCE, ...parts))
const san = extension(SAN, der(SEQUENCE, uri('spiffe://test.postern.test/cluster/c/agent/a')))
const EXTENSIONS: Readonly<Record<string, Buffer>> = {
  usual: list(san),
  none: Buffer.alloc(0),
  'an empty list': list(),
  twice: list(san, san),
  'no names': list(extension(SAN, der(SEQUENCE))),
  'names that are none': list(extension(SAN, Buffer.from('nonsense'))),
  'an empty URI': list(extension(SAN, der(SEQUENCE, uri('')))),
  'a URI with NUL': list(extension(SAN, der(SEQUENCE, uri('spiffe://a\0b')))),
  'a directory name that is empty': list(extension(SAN, der(SEQUENCE, der(0xa4, name())))),
  'another name': list(
    extension(SAN, der(SEQUENCE, der(0xa0, der(OID, CN), der(0xa0, der(0x0c, Buffer.from('x')))))),
  ),
  'an address of 3 bytes': list(extension(SAN, der(SEQUENCE, der(0x87, Buffer.from([1, 2, 3]))))),
  '500 names': list(
    extension(SAN, der(SEQUENCE, ...Array.from({ length: 500 }, (_, i) => uri(`u:${String(i)}`)))),
  ),
  'unknown and critical': list(extension([0x2a, 3, 4], Buffer.from([5, 0]), true)),
  'a use that is empty': list(extension([0x55, 0x1d, 0x25], der(SEQUENCE))),
}

const VERSIONS: Readonly<Record<string, Buffer>> = {
  '3': der(0xa0, der(2, Buffer.from([2]))),
  '1': Buffer.alloc(0),
  '2': der(0xa0, der(2, Buffer.from([1]))),
  '9': der(0xa0, der(2, Buffer.from([8]))),
}

const KEYS: Readonly<Record<string, () => KeyObject>> = {
  'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  Ed25519: () => generateKeyPairSync('ed25519').privateKey,
  secp256k1: () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey,
  'RSA of 1024 bits': () => generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey,
}

interface Shape {
  readonly subject: string
  readonly issuer: string
  readonly times: string
  readonly serial: string
  readonly extensions: string
  readonly version: string
}

const RIGHT: Shape = {
  subject: 'usual',
  issuer: 'usual',
  times: 'usual',
  serial: 'usual',
  extensions: 'usual',
  version: '3',
}

/** Every oddity alone, every pair of names, and every two oddities of names, times and extensions. */
function shapes(): Shape[] {
  const names = Object.keys(NAMES)
  const few = ['usual', 'empty', 'with NUL', '400 parts']
  return [
    ...names.flatMap((subject) => [
      { ...RIGHT, subject },
      { ...RIGHT, subject, issuer: subject },
    ]),
    ...names.map((issuer) => ({ ...RIGHT, issuer })),
    ...names.map((issuer) => ({ ...RIGHT, issuer, extensions: 'none' })),
    ...Object.keys(SERIALS).map((serial) => ({ ...RIGHT, serial })),
    ...Object.keys(VERSIONS).map((version) => ({ ...RIGHT, version })),
    ...Object.keys(EXTENSIONS).flatMap((extensions) =>
      few.map((issuer) => ({ ...RIGHT, extensions, subject: issuer, issuer })),
    ),
    ...Object.keys(TIMES).flatMap((times) =>
      Object.keys(EXTENSIONS).map((extensions) => ({ ...RIGHT, times, extensions })),
    ),
  ]
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

function make(shape: Shape, kind: string, key: KeyObject, spki: Buffer): OddCertificate {
  const pick = <T>(table: Readonly<Record<string, T>>, what: string): T => table[what] as T
  const [from, to] = pick(TIMES, shape.times)
  const isEd = kind === 'Ed25519'
  const algorithm = isEd
    ? der(SEQUENCE, der(OID, Buffer.from([0x2b, 0x65, 0x70])))
    : kind.startsWith('RSA')
      ? der(
          SEQUENCE,
          der(OID, Buffer.from([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b])),
          der(5),
        )
      : der(SEQUENCE, der(OID, Buffer.from([0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])))
  const body = der(
    SEQUENCE,
    pick(VERSIONS, shape.version),
    der(2, pick(SERIALS, shape.serial)),
    algorithm,
    pick(NAMES, shape.issuer),
    der(SEQUENCE, from, to),
    pick(NAMES, shape.subject),
    spki,
    pick(EXTENSIONS, shape.extensions),
  )
  const signature = sign(isEd ? null : 'sha256', body, key)
  const certificate = der(
    SEQUENCE,
    body,
    algorithm,
    der(3, Buffer.concat([Buffer.from([0]), signature])),
  )
  const odd = Object.entries(shape).filter(
    ([field, value]) => RIGHT[field as keyof Shape] !== value,
  )
  return {
    what: `${kind}, ${odd.map((entry) => entry.join(' ')).join(', ') || 'usual'}`,
    certificatePem: pem('CERTIFICATE', certificate),
    keyPem: key.export({ type: 'pkcs8', format: 'pem' }),
  }
}

/** A few hundred of them: those that a TLS library can be made to send. */
export function oddCertificates(): OddCertificate[] {
  return Object.entries(KEYS).flatMap(([kind, generate], index) => {
    const key = generate()
    const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
    return (index === 0 ? shapes() : [RIGHT, { ...RIGHT, issuer: 'empty', subject: 'empty' }]).map(
      (shape) => make(shape, kind, key, spki),
    )
  })
}
