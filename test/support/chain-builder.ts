import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
  type JsonGeneralName,
} from '@peculiar/x509'
import {
  readCertificate,
  type CertificateFacts,
} from '../../src/identity/validation/certificate.ts'

export const NOW_MS = Date.parse('2026-11-23T12:00:00Z')
const DAY_MS = 86_400_000
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const CA_USAGE: KeyUsageFlags = KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign

export interface Made {
  readonly facts: CertificateFacts
  readonly keys: webcrypto.CryptoKeyPair
  readonly subject: string
}

export interface CertificateShape {
  readonly subject?: string
  /** What is written as issuer, where it is not the real one. */
  readonly issuerName?: string
  readonly issuer?: Made
  readonly keys?: webcrypto.CryptoKeyPair
  readonly keyAlgorithm?: webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams
  readonly hash?: string
  readonly serial?: string
  readonly notBefore?: number
  readonly notAfter?: number
  readonly isCa?: boolean
  readonly pathLength?: number
  readonly basicCritical?: boolean
  readonly keyUsage?: KeyUsageFlags
  readonly usage?: readonly string[]
  readonly names?: readonly JsonGeneralName[]
  readonly extra?: readonly Extension[]
  /** Object identifiers of usual extensions that are left out. */
  readonly without?: readonly string[]
}

let count = 0

/** A certificate that is right unless the shape says otherwise. Without an issuer it signs itself. */
export async function make(shape: CertificateShape = {}): Promise<Made> {
  cryptoProvider.set(webcrypto)
  const { isCa = false, issuer, hash = 'SHA-256' } = shape
  const algorithm = { ...P256, ...shape.keyAlgorithm, hash }
  const keys =
    shape.keys ?? (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']))
  const subject = shape.subject ?? `CN=${isCa ? 'authority' : 'leaf'} ${String(++count)}`
  const signer = issuer?.keys ?? keys
  const usual: Extension[] = [
    new BasicConstraintsExtension(isCa, shape.pathLength, shape.basicCritical ?? true),
    new KeyUsagesExtension(
      shape.keyUsage ?? (isCa ? CA_USAGE : KeyUsageFlags.digitalSignature),
      true,
    ),
    await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
    await AuthorityKeyIdentifierExtension.create(signer.publicKey, false, webcrypto),
  ]
  if (shape.usage !== undefined) usual.push(new ExtendedKeyUsageExtension([...shape.usage], false))
  const names = shape.names ?? (isCa ? [] : [{ type: 'dns' as const, value: 'host.example.com' }])
  if (names.length > 0) usual.push(new SubjectAlternativeNameExtension([...names], subject === ''))
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: shape.serial ?? `40${String(count).padStart(6, '0')}`,
      subject,
      issuer: shape.issuerName ?? issuer?.subject ?? subject,
      notBefore: new Date(shape.notBefore ?? NOW_MS - DAY_MS),
      notAfter: new Date(shape.notAfter ?? NOW_MS + DAY_MS),
      signingAlgorithm: { ...signer.privateKey.algorithm, hash } as never,
      publicKey: keys.publicKey,
      signingKey: signer.privateKey,
      extensions: [
        ...usual.filter(({ type }) => shape.without?.includes(type) !== true),
        ...(shape.extra ?? []),
      ],
    },
    webcrypto,
  )
  return { facts: readCertificate(Buffer.from(certificate.rawData)), keys, subject }
}

/** DER of one element. */
export function der(tag: number, ...parts: readonly (Buffer | string)[]): Buffer {
  const content = Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
  )
  const { length } = content
  const head = length < 128 ? [tag, length] : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), content])
}

/** Name constraints with subtrees given as whole GeneralName elements. */
export function nameConstraints(
  {
    permitted = [],
    excluded = [],
  }: { permitted?: readonly Buffer[]; excluded?: readonly Buffer[] },
  critical = true,
): Extension {
  const list = (tag: number, bases: readonly Buffer[]): Buffer[] =>
    bases.length === 0 ? [] : [der(tag, ...bases.map((base) => der(0x30, base)))]
  return new Extension(
    '2.5.29.30',
    critical,
    der(0x30, ...list(0xa0, permitted), ...list(0xa1, excluded)),
  )
}

export const dns = (text: string): Buffer => der(0x82, text)
export const uri = (text: string): Buffer => der(0x86, text)
export const ip = (...bytes: readonly number[]): Buffer => der(0x87, Buffer.from(bytes))

export { Extension, KeyUsageFlags }
