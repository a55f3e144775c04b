import { X509Certificate } from 'node:crypto'
import { AsnConvert } from '@peculiar/asn1-schema'
import {
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_nameConstraints,
  id_ce_subjectAltName,
  id_kp_clientAuth,
  id_kp_serverAuth,
  KeyUsage,
  KeyUsageFlags,
  SubjectAlternativeName,
  Version,
} from '@peculiar/asn1-x509'
import { PosternError } from '../base/errors.ts'
import { parseIdentity, type Identity, type Role } from './name.ts'

const DAY_MS = 86_400_000
const LIFE_MS_MAX = 91 * DAY_MS
const SERIAL_BYTES_MAX = 20
const RSA_BITS_MIN = 2048
const DIGITAL_SIGNATURE: number = KeyUsageFlags.digitalSignature
const SIGNS_FOR_OTHERS: number = KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign

export interface Expectation {
  /** Undefined: any; for who has no trust domain yet. */
  readonly trustDomain: string | undefined
  readonly roles: readonly Role[]
}

/** The facts of a leaf that the rules are about. */
interface Leaf {
  readonly certificate: Certificate
  readonly usage: readonly string[]
  readonly keyUsage: KeyUsage | undefined
  readonly uris: readonly string[]
  readonly dnsNames: readonly string[]
  readonly otherNames: number
}

/**
 * What we demand of a leaf after OpenSSL has accepted its chain, because Node's own check takes more
 * than we may: version 1, several names, no EKU, CA bits. Decides who the peer is.
 * @throws CERT_LEAF_RULES with every broken rule, IDENTITY_ROLE, IDENTITY_TRUST_DOMAIN
 */
export function judgeLeaf(der: Uint8Array, expected: Expectation): Identity {
  let broken: string[]
  let uri: string
  try {
    const leaf = readLeaf(der)
    uri = leaf.uris[0] ?? ''
    broken = [...formRules(leaf), ...nameRules(leaf), ...keyRules(der)]
  } catch (error) {
    throw new PosternError(
      'CERT_LEAF_RULES',
      'the certificate cannot be decoded',
      {},
      { cause: error },
    )
  }
  if (broken.length > 0) throw new PosternError('CERT_LEAF_RULES', `the leaf ${broken.join('; ')}`)
  const identity = parseIdentity(uri)
  if (expected.trustDomain !== undefined && identity.trustDomain !== expected.trustDomain) {
    const text = `the trust domain is ${identity.trustDomain}, expected ${expected.trustDomain}`
    throw new PosternError('IDENTITY_TRUST_DOMAIN', text)
  }
  if (!expected.roles.includes(identity.role)) {
    const text = `the role is ${identity.role}, expected ${expected.roles.join(' or ')}`
    throw new PosternError('IDENTITY_ROLE', text)
  }
  return identity
}

function readLeaf(der: Uint8Array): Leaf {
  const certificate = AsnConvert.parse(der, Certificate)
  const names = extension(certificate, id_ce_subjectAltName, SubjectAlternativeName)
  const usage = extension(certificate, id_ce_extKeyUsage, ExtendedKeyUsage)
  const uris: string[] = []
  const dnsNames: string[] = []
  let otherNames = 0
  for (const name of Array.from(names ?? [])) {
    if (name.uniformResourceIdentifier !== undefined) uris.push(name.uniformResourceIdentifier)
    else if (name.dNSName !== undefined) dnsNames.push(name.dNSName)
    else otherNames++
  }
  return {
    certificate,
    usage: usage === undefined ? [] : [...usage],
    keyUsage: extension(certificate, id_ce_keyUsage, KeyUsage),
    uris,
    dnsNames,
    otherNames,
  }
}

function extension<T>(certificate: Certificate, id: string, type: new () => T): T | undefined {
  const found = certificate.tbsCertificate.extensions?.filter((entry) => entry.extnID === id) ?? []
  if (found.length > 1) throw new Error(`extension ${id} stands twice`)
  return found[0] === undefined ? undefined : AsnConvert.parse(found[0].extnValue.buffer, type)
}

function formRules({ certificate, keyUsage }: Leaf): string[] {
  const { version, serialNumber, validity } = certificate.tbsCertificate
  const broken: string[] = []
  const basic = extension(certificate, id_ce_basicConstraints, BasicConstraints)
  const nameConstraints = certificate.tbsCertificate.extensions?.some(
    (entry) => entry.extnID === id_ce_nameConstraints,
  )
  const serial = Buffer.from(serialNumber)
  const lifeMs = validity.notAfter.getTime().getTime() - validity.notBefore.getTime().getTime()
  const flags: number = keyUsage?.toNumber() ?? 0
  if (version !== Version.v3) broken.push('is not version 3')
  if (basic?.cA === true) broken.push('is a CA')
  if (nameConstraints === true) broken.push('has name constraints')
  if (!hasBits(flags, DIGITAL_SIGNATURE)) broken.push('lacks key usage digitalSignature')
  if (hasBits(flags, SIGNS_FOR_OTHERS)) broken.push('may sign certificates or CRLs')
  if (
    serial.length > SERIAL_BYTES_MAX ||
    (serial[0] ?? 0x80) >= 0x80 ||
    serial.every((byte) => byte === 0)
  ) {
    broken.push('has a serial that is not positive and at most 20 bytes long')
  }
  if (!(lifeMs > 0 && lifeMs <= LIFE_MS_MAX)) broken.push('lives longer than 90 days')
  return broken
}

function hasBits(flags: number, bits: number): boolean {
  return (flags & bits) > 0
}

function nameRules({ usage, uris, dnsNames, otherNames }: Leaf): string[] {
  const broken: string[] = []
  const isServer = usage.includes(id_kp_serverAuth)
  if (usage.length === 0) broken.push('has no extended key usage')
  if (usage.some((oid) => oid !== id_kp_serverAuth && oid !== id_kp_clientAuth)) {
    broken.push('has an extended key usage other than clientAuth and serverAuth')
  }
  if (uris.length !== 1) broken.push(`has ${String(uris.length)} URI names instead of one`)
  if (otherNames > 0) broken.push('has a name that is neither URI nor DNS')
  if (!isServer && dnsNames.length > 0) broken.push('is a client and has a DNS name')
  if (dnsNames.some((name) => name.includes('*'))) broken.push('has a wildcard name')
  if (uris[0]?.includes('/gateway/') === true && !isServer)
    broken.push('names a gateway and lacks serverAuth')
  if (isServer && uris[0]?.includes('/gateway/') !== true)
    broken.push('has serverAuth and names no gateway')
  return broken
}

function keyRules(der: Uint8Array): string[] {
  const key = new X509Certificate(der).publicKey
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return []
    case 'ec':
      return ['prime256v1', 'secp384r1'].includes(namedCurve)
        ? []
        : [`has a key on curve ${namedCurve}`]
    case 'rsa':
      return modulusLength >= RSA_BITS_MIN
        ? []
        : [`has an RSA key of ${String(modulusLength)} bits`]
    default:
      return [`has a key of type ${String(key.asymmetricKeyType)}`]
  }
}
