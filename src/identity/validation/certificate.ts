import { context, countOf, DerReader, judgeInteger, oidText, readOne, TAG, timeMs } from '../der.ts'
import { readName, type DistinguishedName } from './distinguished-name.ts'
import { readExtensions, type Extensions } from './extensions.ts'

/** What a certificate says, read strictly from its DER. Nothing of it is judged yet. */
export interface CertificateFacts {
  readonly der: Buffer
  /** 3 for all that we accept. */
  readonly version: number
  /** The content of the INTEGER. */
  readonly serial: Buffer
  /** The signed part, and over it the signature. */
  readonly signed: Buffer
  readonly signature: Buffer
  /** The whole AlgorithmIdentifier, as the signed part names it and as stands beside the signature. */
  readonly signatureAlgorithm: Buffer
  readonly outerAlgorithm: Buffer
  /** Object identifier of the algorithm beside the signature. */
  readonly signatureOid: string
  readonly issuer: DistinguishedName
  readonly subject: DistinguishedName
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** SubjectPublicKeyInfo, whole. */
  readonly publicKey: Buffer
  readonly keyAlgorithm: KeyAlgorithm
  readonly extensions: Extensions
}

/** The algorithm of a public key, with its curve where it has one. */
export interface KeyAlgorithm {
  readonly oid: string
  /** Named curve of an EC key; undefined where parameters are spelled out. */
  readonly curve: string | undefined
}

/** Decodes a certificate from DER, strictly (RFC 5280 section 4.1). @throws Error with what cannot be decoded */
export function readCertificate(der: Buffer): CertificateFacts {
  const outer = new DerReader(readOne(der, TAG.sequence).content)
  const signed = outer.next(TAG.sequence)
  const outerAlgorithm = outer.next(TAG.sequence).raw
  const signature = bitStringBytes(outer.next(TAG.bitString).content)
  outer.end()
  const reader = new DerReader(signed.content)
  const version = readVersion(reader)
  const serial = reader.next(TAG.integer).content
  judgeInteger(serial)
  const signatureAlgorithm = reader.next(TAG.sequence).raw
  const issuer = readName(reader.next(TAG.sequence).raw)
  const validity = reader.enter(TAG.sequence)
  const notBeforeMs = timeMs(validity.next())
  const notAfterMs = timeMs(validity.next())
  validity.end()
  const subject = readName(reader.next(TAG.sequence).raw)
  const publicKey = reader.next(TAG.sequence)
  reader.optional(context(1, false))
  reader.optional(context(2, false))
  const extensions = readExtensions(reader.optional(context(3, true)))
  reader.end()
  return {
    der,
    version,
    serial,
    signed: signed.raw,
    signature,
    signatureAlgorithm,
    outerAlgorithm,
    signatureOid: oidText(
      new DerReader(readOne(outerAlgorithm, TAG.sequence).content).next(TAG.oid).content,
    ),
    issuer,
    subject,
    notBeforeMs,
    notAfterMs,
    publicKey: publicKey.raw,
    keyAlgorithm: readKeyAlgorithm(publicKey.content),
    extensions,
  }
}

/** Issued by itself, as names go. Whether it also signed itself is another question. */
export function isSelfIssued({ issuer, subject }: CertificateFacts): boolean {
  return issuer.key === subject.key
}

function readVersion(reader: DerReader): number {
  const explicit = reader.optional(context(0, true))
  if (explicit === undefined) return 1
  const version = countOf(readOne(explicit.content, TAG.integer).content)
  if (version === 0) throw new Error('the default version is spelled out')
  return version + 1
}

function readKeyAlgorithm(publicKey: Buffer): KeyAlgorithm {
  const reader = new DerReader(publicKey)
  const algorithm = reader.enter(TAG.sequence)
  bitStringBytes(reader.next(TAG.bitString).content)
  reader.end()
  const oid = oidText(algorithm.next(TAG.oid).content)
  const curve = algorithm.optional(TAG.oid)
  return { oid, curve: curve === undefined ? undefined : oidText(curve.content) }
}

function bitStringBytes(content: Buffer): Buffer {
  if (content[0] !== 0) throw new Error('a bit string does not end on a byte')
  return content.subarray(1)
}
