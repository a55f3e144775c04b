import { PosternError } from '../base/errors.ts'
import { parseIdentity, type Identity, type Role } from './name.ts'
import {
  readCertificate,
  type CertificateFacts,
  KEY_USAGE,
  certificateFaults,
  USAGE_OIDS,
} from './validation/validation.ts'

const DAY_MS = 86_400_000
/** Ninety days, and one for what is backdated and for clocks. */
const LIFE_MS_MAX = 91 * DAY_MS
/** Curves of leaves; authorities may have P-521 too. */
const CURVES = ['1.2.840.10045.3.1.7', '1.3.132.0.34']
const EC_KEY = '1.2.840.10045.2.1'

/** The trust domain and roles that a peer must be of. */
export interface Expectation {
  /** Undefined: any; for who has no trust domain yet. */
  readonly trustDomain: string | undefined
  readonly roles: readonly Role[]
  /** Said to a peer of another role: where it should have come. */
  readonly elsewhere?: string
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
    const leaf = readCertificate(Buffer.from(der))
    uri = namesOf(leaf, 'uri')[0] ?? ''
    broken = leafFaults(leaf)
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
    const advice = expected.elsewhere === undefined ? '' : `; ${expected.elsewhere}`
    const text = `the role is ${identity.role}, expected ${expected.roles.join(' or ')}${advice}`
    throw new PosternError('IDENTITY_ROLE', text)
  }
  return identity
}

/** Every rule for leaves that one breaks, in words: those of RFC 5280, by the validator's own list, and ours. */
export function leafFaults(leaf: CertificateFacts): string[] {
  // Its time is OpenSSL's to judge, or the validator's.
  const surroundings = { timeMs: leaf.notBeforeMs, role: undefined }
  return [
    ...certificateFaults(leaf, 'leaf', surroundings),
    ...formRules(leaf),
    ...nameRules(leaf),
    ...keyRules(leaf),
  ]
}

function namesOf({ extensions }: CertificateFacts, kind: 'uri' | 'dns'): string[] {
  return (extensions.names ?? []).flatMap((name) => (name.kind === kind ? [name.value] : []))
}

function formRules({ extensions, notBeforeMs, notAfterMs }: CertificateFacts): string[] {
  const broken: string[] = []
  const flags = extensions.keyUsage ?? 0
  const lifeMs = notAfterMs - notBeforeMs
  if ((flags & KEY_USAGE.digitalSignature) === 0) broken.push('lacks key usage digitalSignature')
  if ((flags & KEY_USAGE.cRLSign) !== 0) broken.push('may sign CRLs')
  if (!(lifeMs > 0 && lifeMs <= LIFE_MS_MAX)) broken.push('lives longer than 90 days')
  return broken
}

function nameRules(leaf: CertificateFacts): string[] {
  const broken: string[] = []
  const usage = leaf.extensions.extendedKeyUsage ?? []
  const [uris, dnsNames] = [namesOf(leaf, 'uri'), namesOf(leaf, 'dns')]
  const others = (leaf.extensions.names?.length ?? 0) - uris.length - dnsNames.length
  const isServer = usage.includes(USAGE_OIDS.server)
  if (usage.length === 0) broken.push('has no extended key usage')
  if (usage.some((oid) => oid !== USAGE_OIDS.server && oid !== USAGE_OIDS.client)) {
    broken.push('has an extended key usage other than clientAuth and serverAuth')
  }
  if (uris.length !== 1) broken.push(`has ${String(uris.length)} URI names instead of one`)
  if (others > 0) broken.push('has a name that is neither URI nor DNS')
  if (!isServer && dnsNames.length > 0) broken.push('is a client and has a DNS name')
  if (dnsNames.some((name) => name.includes('*'))) broken.push('has a wildcard name')
  if (uris[0]?.includes('/gateway/') === true && !isServer)
    broken.push('names a gateway and lacks serverAuth')
  if (isServer && uris[0]?.includes('/gateway/') !== true)
    broken.push('has serverAuth and names no gateway')
  return broken
}

function keyRules({ keyAlgorithm: { oid, curve = '' } }: CertificateFacts): string[] {
  return oid === EC_KEY && !CURVES.includes(curve) ? ['has a key on a curve for authorities'] : []
}
