import { createPublicKey } from 'node:crypto'
import { PosternError } from '../../base/errors.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import { makeSigningRequest } from '../../identity/csr.ts'
import type { Generations } from '../../identity/generations.ts'
import { joinTokenFault } from '../../identity/join-token.ts'
import { makeKey, publicDer, type KeyKind } from '../../identity/keys.ts'
import type { Identity } from '../../identity/name.ts'
import { certificatePem } from '../../identity/pem.ts'
import { newestBundle, type VerifiedBundle } from '../../identity/trust-bundle.ts'
import { DIRECT, type Egress } from '../../transport/egress.ts'
import type { Trust } from '../../transport/https-request.ts'
import { caCertificates, estIssue, pinnedBundle } from './est-client.ts'
import { writeEnrollUrl } from './enroll-url.ts'
import { invalidAnswer, judgeIssued } from '../credential/credential.ts'
import { bundlesSince } from './proof-client.ts'

/** The gateway, token and trust that an agent enrolls with. */
export interface EnrollRequest {
  readonly gateway: URL
  readonly token: string
  /** Pins of roots, any of which vouches; or a bundle that is trusted as it is. */
  readonly pins: readonly string[]
  readonly bundlePem: string | undefined
  readonly trustDomain: string | undefined
  readonly keyKind: KeyKind
  /** The way out; default directly. */
  readonly egress?: Egress | undefined
  /** Why a gateway is refused whose chain is in order, such as for its region. Default: it is not. */
  readonly refuse?: Trust['refuse']
  /** Said as each step begins. */
  readonly onStep: (text: string) => void
}

/** The identity that enrolment has given. */
export interface Enrolled {
  readonly identity: Identity
  readonly notAfterMs: number
}

/**
 * From a join token to an identity on disk: finds the root that the pin vouches for, then asks over
 * TLS that this root verifies, then judges the answer as if the gateway were hostile. A crash at any
 * point loses nothing; the same command goes on.
 * @throws CA_PIN_MISMATCH, TOKEN_REFUSED, ENROL_ANSWER_INVALID, ENROL_FAILED and network codes
 */
export async function enroll(
  request: EnrollRequest,
  generations: Generations,
  nowMs: () => number,
): Promise<Enrolled> {
  const { gateway, token, trustDomain, keyKind, onStep, egress = DIRECT, refuse } = request
  const fault = joinTokenFault(token)
  if (fault !== undefined)
    throw new PosternError('TOKEN_REFUSED', `the token was sent nowhere: ${fault}; copy it whole`)
  onStep(`finding the root of ${gateway.host}`)
  const bundlePem = request.bundlePem ?? (await pinnedBundle(gateway, request.pins, egress))
  const trust: Trust = { bundlePem, trustDomain, egress, refuse }
  const { key, keyPem } = await generations.pendingKey(async () => {
    onStep(`making a ${keyKind} key`)
    return await makeKey(keyKind)
  })
  onStep('asking for a certificate')
  const body = makeSigningRequest(key)
  const authorization = `Basic ${Buffer.from(`token:${token}`).toString('base64')}`
  const certificates = await estIssue(gateway, 'simpleenroll', body, trust, { authorization })
  // Asked for afterwards: another CA may take over in between.
  const known = await caCertificates(gateway, trust)
  const bundle = await presentBundle(gateway, trust)
  const roots = certificatesIn(bundle?.pem ?? bundlePem)
  const issued = judgeIssued(
    certificates.map(({ der }) => der),
    { known, roots, publicKey: publicDer(createPublicKey(key)), trustDomain },
    nowMs(),
  )
  const issuedFor = issued.identity.trustDomain
  if (bundle !== undefined && bundle.trustDomain !== issuedFor)
    throw invalidAnswer(`its trust bundle is for ${bundle.trustDomain}, not ${issuedFor}`)
  onStep('writing it down')
  const chain = issued.path.slice(0, -1).map(({ der }) => certificatePem(der))
  writeEnrollUrl(generations.folder, gateway)
  const generation = { key, keyPem, chainPem: chain.join(''), bundlePem: bundle?.pem ?? bundlePem }
  generations.install(bundle === undefined ? generation : { ...generation, trust: bundle }, nowMs())
  return { identity: issued.identity, notAfterMs: issued.notAfterMs }
}

/**
 * While the CA changes, certificates may be issued under a root that the pin does not name: the roots
 * that it does name vouch for it. Undefined before the first change, and of gateways that know of none.
 * @throws BUNDLE_REFUSED and network codes
 */
async function presentBundle(
  gateway: URL,
  { bundlePem, trustDomain, egress = DIRECT }: Trust,
): Promise<VerifiedBundle | undefined> {
  let bundles: readonly Buffer[]
  try {
    bundles = await bundlesSince(gateway, 0, egress)
  } catch (error) {
    if (error instanceof PosternError && error.code === 'ENROL_FAILED') return undefined
    throw error
  }
  return newestBundle(bundles, { roots: certificatesIn(bundlePem), version: 0 }, trustDomain)
}
