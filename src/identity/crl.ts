import { createPublicKey, verify } from 'node:crypto'
import { context, DerReader, oidText, readOne, TAG, timeMs } from './der.ts'
import { readName, type CertificateFacts } from './validation/validation.ts'

const CRL_BYTES_MAX = 4 * 1024 * 1024
/** Extension that numbers the lists of an issuer (RFC 5280 section 5.2.3). */
export const CRL_NUMBER = '2.5.29.20'
const HASHES: ReadonlyMap<string, string | null> = new Map([
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.3.101.112', null],
])

/** What a CRL says. Nothing of it is worth anything before isCrlOf. */
export interface CrlFacts {
  readonly der: Buffer
  readonly issuerKey: string
  readonly number: number
  /** When it was made. */
  readonly thisUpdateMs: number
  /** Serials in hex. */
  readonly serials: ReadonlySet<string>
  readonly signed: Buffer
  readonly signatureOid: string
  readonly signature: Buffer
}

/** Reads a CRL strictly. Throws a plain Error with what cannot be decoded. */
export function readCrl(der: Buffer): CrlFacts {
  if (der.length > CRL_BYTES_MAX) throw new Error('it is too large')
  const outer = new DerReader(readOne(der, TAG.sequence).content)
  const signed = outer.next(TAG.sequence)
  const signatureOid = oidText(outer.enter(TAG.sequence).next(TAG.oid).content)
  const signature = outer.next(TAG.bitString).content.subarray(1)
  outer.end()
  const reader = new DerReader(signed.content)
  reader.optional(TAG.integer)
  reader.next(TAG.sequence)
  const issuer = readName(reader.next(TAG.sequence).raw)
  const thisUpdateMs = timeMs(reader.next())
  if (reader.nextTag === TAG.utcTime || reader.nextTag === TAG.generalizedTime) reader.next()
  const entries = reader.optional(TAG.sequence)
  const serials = new Set<string>()
  for (const { content } of entries === undefined ? [] : new DerReader(entries.content).rest())
    serials.add(new DerReader(content).next(TAG.integer).content.toString('hex'))
  const number = crlNumber(reader.optional(context(0, true))?.content)
  reader.end()
  return {
    der,
    issuerKey: issuer.key,
    number,
    thisUpdateMs,
    serials,
    signed: signed.raw,
    signatureOid,
    signature,
  }
}

function crlNumber(explicit: Buffer | undefined): number {
  if (explicit === undefined) return 0
  let number = 0
  for (const { content } of new DerReader(readOne(explicit, TAG.sequence).content).rest()) {
    const reader = new DerReader(content)
    const id = oidText(reader.next(TAG.oid).content)
    const isCritical = reader.optional(TAG.boolean) !== undefined
    const value = reader.next(TAG.octetString).content
    if (id === CRL_NUMBER) {
      const { content: bytes } = readOne(value, TAG.integer)
      if (bytes.length > 7) throw new Error('its number is too large')
      number = Number(BigInt(`0x${bytes.toString('hex')}`))
    } else if (isCritical) throw new Error(`it has the unknown critical extension ${id}`)
  }
  return number
}

/** Whether this authority made the list: its name, its right to sign lists, and its signature. */
export function isCrlOf(crl: CrlFacts, issuer: CertificateFacts): boolean {
  const hash = HASHES.get(crl.signatureOid)
  if (hash === undefined || crl.issuerKey !== issuer.subject.key) return false
  try {
    const key = createPublicKey({ key: issuer.publicKey, format: 'der', type: 'spki' })
    return verify(hash, crl.signed, key, crl.signature)
  } catch {
    // A key or signature that cannot be read has signed nothing.
    return false
  }
}
