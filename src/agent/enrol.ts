import { createPublicKey } from 'node:crypto'
import { certificatesIn } from '../identity/certificate-files.ts'
import { makeSigningRequest } from '../identity/csr.ts'
import type { Generations } from '../identity/generations.ts'
import { makeKey, publicDer, type KeyKind } from '../identity/keys.ts'
import type { Identity } from '../identity/name.ts'
import { pemText } from '../identity/pem.ts'
import type { Trust } from '../transport/https-request.ts'
import { caCertificates, estIssue, pinnedBundle } from './est.ts'
import { writeEnrolUrl } from './enrol-url.ts'
import { judgeIssued } from './judge-issued.ts'

const LABEL = 'CERTIFICATE'

export interface EnrolRequest {
  readonly gateway: URL
  readonly token: string
  /** Pins of roots, any of which vouches; or a bundle that is trusted as it is. */
  readonly pins: readonly string[]
  readonly bundlePem: string | undefined
  readonly trustDomain: string | undefined
  readonly keyKind: KeyKind
  /** Said as each step begins. */
  readonly onStep: (text: string) => void
}

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
export async function enrol(
  request: EnrolRequest,
  generations: Generations,
  nowMs: () => number,
): Promise<Enrolled> {
  const { gateway, token, trustDomain, keyKind, onStep } = request
  onStep(`finding the root of ${gateway.host}`)
  const bundlePem = request.bundlePem ?? (await pinnedBundle(gateway, request.pins))
  const trust: Trust = { bundlePem, trustDomain }
  const known = await caCertificates(gateway, trust)
  const { key, keyPem } = await generations.pendingKey(async () => {
    onStep(`making a ${keyKind} key`)
    return await makeKey(keyKind)
  })
  onStep('asking for a certificate')
  const body = makeSigningRequest(key)
  const authorization = `Basic ${Buffer.from(`token:${token}`).toString('base64')}`
  const certificates = await estIssue(gateway, 'simpleenroll', body, trust, { authorization })
  const roots = certificatesIn(bundlePem)
  const issued = judgeIssued(
    certificates.map(({ der }) => der),
    { known, roots, publicKey: publicDer(createPublicKey(key)), trustDomain },
    nowMs(),
  )
  onStep('writing it down')
  const chain = issued.path.slice(0, -1).map(({ der }) => pemText(LABEL, der))
  writeEnrolUrl(generations.folder, gateway)
  generations.install({ key, keyPem, chainPem: chain.join(''), bundlePem }, nowMs())
  return { identity: issued.identity, notAfterMs: issued.notAfterMs }
}
