import { context, countOf, DerReader, oidText, readOne, TAG } from './der.ts'
import { element, oid, sequence, smallInteger } from './der-write.ts'

const SIGNED_DATA = '1.2.840.113549.1.7.2'
const DATA = '1.2.840.113549.1.7.1'
const CERTIFICATES_MAX = 16

/** Certificates in DER as a certs-only PKCS#7 (RFC 5652 section 5.1, RFC 7030 section 4.2.3). */
export function writeCertsOnly(certificates: readonly Uint8Array[]): Buffer {
  const signedData = sequence(
    smallInteger(1),
    element(TAG.set),
    sequence(oid(DATA)),
    element(context(0, true), ...certificates),
    element(TAG.set),
  )
  return sequence(oid(SIGNED_DATA), element(context(0, true), signedData))
}

/**
 * The certificates of a certs-only PKCS#7, in DER and in no order that means anything. Nothing is
 * signed in it. Throws a plain Error where it cannot be decoded.
 */
export function readCertsOnly(der: Buffer): Buffer[] {
  const outer = new DerReader(readOne(der, TAG.sequence).content)
  if (oidText(outer.next(TAG.oid).content) !== SIGNED_DATA) throw new Error('it is no signed data')
  const wrapped = outer.next(context(0, true)).content
  outer.end()
  const reader = new DerReader(readOne(wrapped, TAG.sequence).content)
  countOf(reader.next(TAG.integer).content)
  reader.next(TAG.set)
  reader.next(TAG.sequence)
  const list = reader.optional(context(0, true))
  reader.optional(context(1, true))
  reader.next(TAG.set)
  reader.end()
  const certificates = list === undefined ? [] : new DerReader(list.content).rest(TAG.sequence)
  if (certificates.length > CERTIFICATES_MAX)
    throw new Error(`it holds more than ${String(CERTIFICATES_MAX)} certificates`)
  return certificates.map(({ raw }) => raw)
}
