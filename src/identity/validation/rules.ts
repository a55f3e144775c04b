import { isSelfIssued, type CertificateFacts } from './certificate.ts'
import { isUnderstood, KEY_USAGE, OID } from './extensions.ts'
import { isPresentableDnsName } from './match-names.ts'
import { algorithmFaults, keyFaults } from './signature.ts'

const SERIAL_BYTES_MAX = 20
/** The extended key usages of each role in TLS. */
export const USAGE_OIDS = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' } as const
/** The role of a peer in TLS. */
export type PeerRole = keyof typeof USAGE_OIDS

/** The time, and the role in TLS, that a certificate is judged for. */
export interface Surroundings {
  readonly timeMs: number
  readonly role: PeerRole | undefined
}

/** Where a certificate stands in its path. */
export type Place = 'leaf' | 'intermediate' | 'root'

/** Every rule of RFC 5280 that one certificate breaks by itself, in words. */
export function certificateFaults(
  certificate: CertificateFacts,
  place: Place,
  surroundings: Surroundings,
): string[] {
  const faults = [
    ...formFaults(certificate, place),
    ...timeFaults(certificate, surroundings.timeMs),
    ...keyFaults(certificate),
    ...keyIdFaults(certificate, place),
    ...nameFaults(certificate),
    ...usageFaults(certificate, place, surroundings.role),
  ]
  return place === 'leaf'
    ? [...faults, ...leafFaults(certificate)]
    : [...faults, ...authorityFaults(certificate)]
}

function formFaults(certificate: CertificateFacts, place: Place): string[] {
  const { version, serial, issuer, extensions } = certificate
  const faults = [...extensions.broken]
  if (version !== 3) faults.push('is not version 3')
  if (issuer.rdns.length === 0) faults.push('has an empty issuer')
  // The signature of a root is no reason to trust it, and its serial names nothing that we look up.
  if (place !== 'root') {
    faults.push(...algorithmFaults(certificate))
    const isPositive = (serial[0] ?? 0x80) < 0x80 && serial.some((byte) => byte !== 0)
    if (!isPositive || serial.length > SERIAL_BYTES_MAX)
      faults.push('has a serial that is not positive or longer than 20 bytes')
  }
  for (const [oid, isCritical] of extensions.critical)
    if (isCritical && !isUnderstood(oid)) faults.push(`has the unknown critical extension ${oid}`)
  if (extensions.critical.get(OID.authorityInfoAccess) === true)
    faults.push('has a critical authority information access')
  if (extensions.critical.get(OID.policyConstraints) === false)
    faults.push('has policy constraints that are not critical')
  return faults
}

function timeFaults({ notBeforeMs, notAfterMs }: CertificateFacts, timeMs: number): string[] {
  const day = (ms: number): string => new Date(ms).toISOString()
  if (timeMs < notBeforeMs) return [`is not valid before ${day(notBeforeMs)}`]
  // The last second belongs to it (RFC 5280 section 4.1.2.5).
  return timeMs >= notAfterMs + 1000 ? [`expired on ${day(notAfterMs)}`] : []
}

function keyIdFaults({ extensions, issuer, subject }: CertificateFacts, place: Place): string[] {
  const faults: string[] = []
  const { critical, subjectKeyId, authorityKeyId } = extensions
  if (critical.get(OID.subjectKeyId) === true) faults.push('has a critical subject key identifier')
  if (critical.get(OID.authorityKeyId) === true)
    faults.push('has a critical authority key identifier')
  if (place !== 'leaf' && subjectKeyId === undefined) faults.push('lacks a subject key identifier')
  if (place !== 'root') {
    if (authorityKeyId?.keyId === undefined) faults.push('lacks an authority key identifier')
  } else if (authorityKeyId !== undefined && issuer.key === subject.key) {
    // A root that issued itself can only name itself.
    if (authorityKeyId.namesIssuer || authorityKeyId.keyId !== subjectKeyId)
      faults.push('has an authority key identifier that is not its own key')
  }
  return faults
}

function nameFaults({ subject, extensions }: CertificateFacts): string[] {
  const { names, critical } = extensions
  const faults: string[] = []
  if (names?.length === 0) faults.push('has an empty list of names')
  if (names !== undefined && subject.rdns.length === 0 && critical.get(OID.names) !== true)
    faults.push('has no subject, and its names are not critical')
  for (const name of names ?? []) {
    if (name.kind === 'dns' && !isPresentableDnsName(name.value))
      faults.push(`has the malformed DNS name ${JSON.stringify(name.value)}`)
    if (name.kind === 'email' && name.value.split('@').length !== 2)
      faults.push(`has the malformed mailbox ${JSON.stringify(name.value)}`)
    if (name.kind === 'ip' && name.value.length !== 4 && name.value.length !== 16)
      faults.push('has an address that is neither IPv4 nor IPv6')
  }
  return faults
}

function usageFaults(
  { extensions }: CertificateFacts,
  place: Place,
  role: PeerRole | undefined,
): string[] {
  const usages = extensions.extendedKeyUsage
  if (usages === undefined) return []
  if (usages.length === 0) return ['has an empty extended key usage']
  // An authority may be limited to usages; a leaf must name its own and not "any".
  if (place !== 'leaf' && usages.includes('2.5.29.37.0')) return []
  if (role === undefined || usages.includes(USAGE_OIDS[role])) return []
  return [`lacks the extended key usage of a ${role}`]
}

function leafFaults({ extensions }: CertificateFacts): string[] {
  const { basicConstraints, keyUsage, nameConstraints } = extensions
  const faults: string[] = []
  if (basicConstraints?.isCa === true) faults.push('is an authority, not a leaf')
  if (nameConstraints !== undefined) faults.push('is a leaf and has name constraints')
  if (keyUsage === undefined) return faults
  const signs = KEY_USAGE.digitalSignature | KEY_USAGE.keyAgreement | KEY_USAGE.keyEncipherment
  if ((keyUsage & KEY_USAGE.keyCertSign) !== 0) faults.push('is a leaf and may sign certificates')
  if ((keyUsage & signs) === 0) faults.push('may not be used for a handshake, by its key usage')
  return faults
}

function authorityFaults(certificate: CertificateFacts): string[] {
  const { subject, extensions } = certificate
  const { basicConstraints, keyUsage, critical } = extensions
  const faults: string[] = []
  if (subject.rdns.length === 0) faults.push('is an authority with an empty subject')
  if (basicConstraints?.isCa !== true) faults.push('is no authority, by its basic constraints')
  else if (critical.get(OID.basicConstraints) !== true)
    faults.push('has basic constraints that are not critical')
  if (keyUsage !== undefined && (keyUsage & KEY_USAGE.keyCertSign) === 0)
    faults.push('may not sign certificates, by its key usage')
  if (extensions.nameConstraints !== undefined && critical.get(OID.nameConstraints) !== true)
    faults.push('has name constraints that are not critical')
  return faults
}

/** Indexes of a path, leaf first, whose path length is exceeded (RFC 5280 section 6.1.4 (m)). */
export function pathLengthFaults(path: readonly CertificateFacts[]): number[] {
  const exceeded: number[] = []
  let below = 0
  for (const [index, certificate] of path.entries()) {
    if (index === 0) continue
    const { pathLength } = certificate.extensions.basicConstraints ?? {}
    if (pathLength !== undefined && below > pathLength) exceeded.push(index)
    if (!isSelfIssued(certificate)) below++
  }
  return exceeded
}
