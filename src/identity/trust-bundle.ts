import { fromBinary, toBinary, create } from '@bufbuild/protobuf'
import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { PosternError } from '../base/errors.ts'
import {
  SignedBundleSchema,
  TrustBundleSchema,
  type SignedBundle,
  type TrustBundle,
} from '../gen/postern/v1/tunnel_pb.js'
import type { Authority } from './authority.ts'
import { spkiPin } from './keys.ts'
import { pemText } from './pem.ts'
import {
  isSelfIssued,
  readCertificate,
  type CertificateFacts,
  isSignedBy,
} from './validation/validation.ts'

const CONTEXT = Buffer.from('postern trust bundle 1\n')
const BYTES_MAX = 64 * 1024
const CERTIFICATES_MAX = 16
const SIGNATURES_MAX = 8

/** A bundle whose signature was verified. */
export interface VerifiedBundle {
  readonly trustDomain: string
  readonly version: number
  readonly roots: readonly CertificateFacts[]
  /** The roots, in PEM. */
  readonly pem: string
  /** Key identifiers of the issuing CAs, in hex: what is issued by another is trusted no more. */
  readonly issuingKeys: readonly string[]
}

/** The roots, issuing keys and version that a trust bundle is made of. */
export interface BundleContent {
  readonly trustDomain: string
  readonly version: number
  readonly roots: readonly Uint8Array[]
  readonly issuing: readonly Uint8Array[]
  readonly madeAtMs: number
}

/** Signs a bundle with the keys of roots; who trusts any one of them takes it. */
export function signBundle(content: BundleContent, signers: readonly Authority[]): Buffer {
  const { trustDomain, version, roots, issuing, madeAtMs } = content
  const message = create(TrustBundleSchema, {
    trustDomain,
    version,
    roots: [...roots],
    issuing: [...issuing],
    madeAtMs: BigInt(Math.round(madeAtMs)),
  })
  const bundle = toBinary(TrustBundleSchema, message)
  const signatures = signers.map(({ key, pin }) => ({
    rootPin: pin,
    signature: sign(hashOf(key), Buffer.concat([CONTEXT, bundle]), key),
  }))
  const signed = create(SignedBundleSchema, { bundle, signatures })
  return Buffer.from(toBinary(SignedBundleSchema, signed))
}

/**
 * Takes a bundle only when a root that is trusted already has signed it: whoever holds a gateway can
 * pass bundles on, and make none.
 * @throws BUNDLE_REFUSED
 */
export function readBundle(
  bytes: Uint8Array,
  trusted: readonly CertificateFacts[],
  trustDomain: string | undefined,
): VerifiedBundle {
  if (bytes.length > BYTES_MAX) throw refused(`it is larger than ${String(BYTES_MAX)} bytes`)
  try {
    const signed = fromBinary(SignedBundleSchema, bytes)
    if (!isVouchedFor(signed, trusted)) throw refused('no root that is trusted has signed it')
    return judged(fromBinary(TrustBundleSchema, signed.bundle), trustDomain)
  } catch (error) {
    if (error instanceof PosternError) throw error
    throw refused(`it cannot be decoded: ${(error as Error).message}`)
  }
}

/**
 * The newest of several bundles, oldest first, each signed by a root that was trusted before it;
 * undefined where none is newer than what is held. Who holds the present root alone cannot judge those of
 * earlier roots, and needs none of them: what follows is judged by what is held. `trustDomain` undefined: any.
 * @throws BUNDLE_REFUSED for the last of them
 */
export function newestBundle(
  bundles: readonly Uint8Array[],
  held: { readonly roots: readonly CertificateFacts[]; readonly version: number },
  trustDomain: string | undefined,
): VerifiedBundle | undefined {
  let trusted = held.roots
  let last: VerifiedBundle | undefined
  let failure: PosternError | undefined
  for (const bytes of bundles) {
    let bundle: VerifiedBundle
    try {
      bundle = readBundle(bytes, trusted, trustDomain)
      failure = undefined
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      failure = error
      continue
    }
    if (bundle.version <= (last?.version ?? held.version)) continue
    last = bundle
    trusted = bundle.roots
  }
  if (failure !== undefined) throw failure
  return last
}

/** The version that a bundle claims, whoever signed it; undefined where it cannot be decoded. */
export function claimedVersion(bytes: Uint8Array): number | undefined {
  try {
    return fromBinary(TrustBundleSchema, fromBinary(SignedBundleSchema, bytes).bundle).version
  } catch {
    // What it is worth is judged by who takes it.
    return undefined
  }
}

/** A bundle out of our own store, whoever signed it. @throws BUNDLE_REFUSED */
export function readOwnBundle(bytes: Uint8Array, trustDomain: string): VerifiedBundle {
  return judged(
    fromBinary(TrustBundleSchema, fromBinary(SignedBundleSchema, bytes).bundle),
    trustDomain,
  )
}

function isVouchedFor({ bundle, signatures }: SignedBundle, trusted: readonly CertificateFacts[]) {
  const message = Buffer.concat([CONTEXT, bundle])
  return signatures.slice(0, SIGNATURES_MAX).some(({ rootPin, signature }) => {
    const root = trusted.find(({ publicKey }) => spkiPin(publicKey) === rootPin)
    if (root === undefined) return false
    const key = createPublicKey({ key: root.publicKey, format: 'der', type: 'spki' })
    return verify(hashOf(key), message, key, signature)
  })
}

function judged(bundle: TrustBundle, trustDomain: string | undefined): VerifiedBundle {
  if (trustDomain !== undefined && bundle.trustDomain !== trustDomain)
    throw refused('it is for another trust domain')
  if (bundle.roots.length === 0) throw refused('it holds no root')
  if (bundle.roots.length + bundle.issuing.length > CERTIFICATES_MAX)
    throw refused('it holds too many certificates')
  const roots = bundle.roots.map((der) => readCertificate(Buffer.from(der)))
  const issuing = bundle.issuing.map((der) => readCertificate(Buffer.from(der)))
  for (const root of roots) {
    if (!isSelfIssued(root) || !isSignedBy(root, root))
      throw refused('one of its roots has not signed itself')
    if (root.extensions.basicConstraints?.isCa !== true)
      throw refused('one of its roots is no authority')
  }
  const pem = roots.map(({ der }) => pemText('CERTIFICATE', der)).join('')
  const issuingKeys = issuing.flatMap(({ extensions }) => extensions.subjectKeyId ?? [])
  return { trustDomain: bundle.trustDomain, version: bundle.version, roots, pem, issuingKeys }
}

/** Whether a leaf comes from one of the issuing CAs; before the first bundle there is no list of them. */
export function isIssuedByOne(leafDer: Buffer, issuingKeys: readonly string[]): boolean {
  const issuer = readCertificate(leafDer).extensions.authorityKeyId?.keyId ?? ''
  return issuingKeys.length === 0 || issuingKeys.includes(issuer)
}

function hashOf(key: KeyObject): string | null {
  if (key.asymmetricKeyType === 'ed25519') return null
  return key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'sha384' : 'sha256'
}

function refused(text: string): PosternError {
  return new PosternError('BUNDLE_REFUSED', `the trust bundle is not taken: ${text}`)
}
