import { createPrivateKey, createPublicKey } from 'node:crypto'
import { PosternError, printable } from '../base/errors.ts'
import { readCertsOnly } from '../identity/certs-only.ts'
import { makeSigningRequest } from '../identity/csr.ts'
import type { Generations } from '../identity/generations.ts'
import { makeKey, privatePem, publicDer, spkiPin, type KeyKind } from '../identity/keys.ts'
import type { Identity } from '../identity/name.ts'
import { pemBlocks, pemText } from '../identity/pem.ts'
import {
  isSelfIssued,
  readCertificate,
  type CertificateFacts,
} from '../identity/validation/certificate.ts'
import { isSignedBy } from '../identity/validation/signature.ts'
import { invalidAnswer, judgeIssued } from './judge-issued.ts'
import {
  requestHttps,
  requestUnverified,
  type HttpsAnswer,
  type Trust,
} from '../transport/https-request.ts'

const BASE = '/.well-known/est/'
const REQUEST_MS_MAX = 20_000
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
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
  const keyPem = await generations.pendingKey(async () => {
    onStep(`making a ${keyKind} key`)
    return privatePem(await makeKey(keyKind))
  })
  onStep('asking for a certificate')
  const key = createPrivateKey(keyPem)
  const answer = await requestHttps(
    {
      url: operation(gateway, 'simpleenroll'),
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`token:${token}`).toString('base64')}`,
        'content-type': 'application/pkcs10',
        'content-transfer-encoding': 'base64',
      },
      body: base64Lines(makeSigningRequest(key)),
      signal: AbortSignal.timeout(REQUEST_MS_MAX),
    },
    trust,
  )
  judgeStatus(answer, gateway)
  const roots = pemBlocks(bundlePem, LABEL).map(readCertificate)
  const issued = judgeIssued(
    certificatesOf(answer, gateway).map(({ der }) => der),
    { known, roots, publicKey: publicDer(createPublicKey(key)), trustDomain },
    nowMs(),
  )
  onStep('writing it down')
  const chain = issued.path.slice(0, -1).map(({ der }) => pemText(LABEL, der))
  generations.install({ keyPem, chainPem: chain.join(''), bundlePem }, nowMs())
  return { identity: issued.identity, notAfterMs: issued.notAfterMs }
}

function operation(gateway: URL, name: string): URL {
  return new URL(`${BASE}${name}`, gateway)
}

/** The roots that a pin vouches for, out of what a server not yet known tells. @throws CA_PIN_MISMATCH */
async function pinnedBundle(gateway: URL, pins: readonly string[]): Promise<string> {
  const answer = await requestUnverified(
    operation(gateway, 'cacerts'),
    AbortSignal.timeout(REQUEST_MS_MAX),
  )
  const told = certificatesOf(answer, gateway)
  const roots = told.filter((facts) => isSelfIssued(facts) && isSignedBy(facts, facts))
  const vouched = roots.filter(({ publicKey }) => pins.includes(spkiPin(publicKey)))
  if (vouched.length > 0) return vouched.map(({ der }) => pemText(LABEL, der)).join('')
  const found = roots.map(({ publicKey }) => spkiPin(publicKey)).join(', ') || 'none'
  throw new PosternError(
    'CA_PIN_MISMATCH',
    `${gateway.host} has no root with the pin; its roots are ${found}. Nothing was sent to it`,
  )
}

async function caCertificates(gateway: URL, trust: Trust): Promise<CertificateFacts[]> {
  const signal = AbortSignal.timeout(REQUEST_MS_MAX)
  const url = operation(gateway, 'cacerts')
  return certificatesOf(await requestHttps({ url, method: 'GET', signal }, trust), gateway)
}

/** @throws TOKEN_REFUSED, ENROL_FAILED */
function judgeStatus({ status, body, header }: HttpsAnswer, gateway: URL): void {
  if (status === 200) return
  const text = printable(body.trim().slice(0, 200))
  if (status === 401) throw new PosternError('TOKEN_REFUSED', `${gateway.host}: ${text}`)
  const later = header('retry-after')
  const when = later === undefined ? '' : ` (try again in ${printable(later)} s)`
  throw new PosternError(
    'ENROL_FAILED',
    `${gateway.host} answered ${String(status)}: ${text}${when}`,
  )
}

/** @throws ENROL_FAILED, ENROL_ANSWER_INVALID */
function certificatesOf(answer: HttpsAnswer, gateway: URL): CertificateFacts[] {
  if (answer.status !== 200)
    throw new PosternError(
      'ENROL_FAILED',
      `${gateway.host} answered ${String(answer.status)}; is it an enrolment address?`,
    )
  const base64 = answer.body.replace(/\s+/g, '')
  if (!BASE64.test(base64)) throw invalidAnswer('it is not base64')
  try {
    return readCertsOnly(Buffer.from(base64, 'base64')).map(readCertificate)
  } catch (error) {
    throw invalidAnswer(`it cannot be decoded: ${(error as Error).message}`)
  }
}

function base64Lines(der: Buffer): string {
  return `${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n`
}
