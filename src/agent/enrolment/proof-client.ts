import { claimedVersion } from '../../identity/trust-bundle.ts'
import { createPrivateKey } from 'node:crypto'
import { PosternError, printable } from '../../base/errors.ts'
import { readCertsOnly } from '../../identity/certs-only.ts'
import type { Credential } from '../../identity/key-files.ts'
import { makeProof, type ProofPurpose } from '../../identity/key-proof.ts'
import { pemBlocks } from '../../identity/pem.ts'
import type { Egress } from '../../transport/egress.ts'
import { requestHttps, requestUnverified, type Trust } from '../../transport/https-request.ts'
import { BUNDLES_PAGE, POSTERN_PATH } from '../../contract/paths.ts'
import { VERDICTS, type Verdict } from '../../contract/verdict.ts'
import { invalidAnswer } from '../credential/credential.ts'
import { refusalOf } from './refusals.ts'

/** Bundles in all answers together: a dozen for each change of CA that was missed. */
const BUNDLES_MAX = 256

/** What the gateway says of our certificate. */
export interface Diagnosis {
  readonly verdict: Verdict
  readonly text: string
  /** The gateway's wall clock, in ms. */
  readonly gatewayTimeMs: number
  /** Another certificate is to be had for it at once. */
  readonly mayRenew: boolean
}

/** Who we are, and whom we take for a gateway. */
export interface Trusting {
  readonly credential: Credential
  readonly issuingKeys: readonly string[]
  /** The way out; default directly. */
  readonly egress?: Egress
  /** Why a gateway is refused whose chain is in order. Default: it is not. */
  readonly refuse?: Trust['refuse']
}

/** Asks why we are refused, by proving that we hold the key. @throws network codes, ENROL_FAILED, ENROL_ANSWER_INVALID */
export async function diagnose(gateway: URL, trusting: Trusting): Promise<Diagnosis> {
  const answer = await ask(gateway, 'diagnose', trusting, {})
  const { verdict, text, timeMs, mayRenew } = answer
  const known = VERDICTS.find((one) => one === verdict)
  if (known === undefined || typeof text !== 'string' || typeof timeMs !== 'number')
    throw invalidAnswer('it is no diagnosis')
  const told = { verdict: known, text: printable(text), gatewayTimeMs: timeMs }
  return { ...told, mayRenew: mayRenew === true }
}

/** Certificates for one that may have expired, ours and what stands above it, in DER. @throws as diagnose, and what the gateway refuses with */
export async function recover(
  gateway: URL,
  trusting: Trusting,
  signingRequest: Buffer,
): Promise<Buffer[]> {
  const more = { signingRequest: signingRequest.toString('base64') }
  const { certificates } = await ask(gateway, 'recover', trusting, more)
  if (typeof certificates !== 'string') throw invalidAnswer('it holds no certificates')
  try {
    return readCertsOnly(Buffer.from(certificates, 'base64'))
  } catch (error) {
    throw invalidAnswer(`it cannot be decoded: ${(error as Error).message}`)
  }
}

/**
 * Signed trust bundles after the version that we hold. Read from whoever answers: each is worth what
 * its signature is. @throws network codes, ENROL_FAILED
 */
export async function bundlesSince(
  gateway: URL,
  version: number,
  egress: Egress,
): Promise<Buffer[]> {
  const found: Buffer[] = []
  for (let after = version; found.length < BUNDLES_MAX;) {
    const url = new URL(`${POSTERN_PATH}bundles/${String(after)}`, gateway)
    const { status, body } = await requestUnverified(url, egress)
    if (status !== 200) throw failed(gateway, status, body)
    const lines = body.split('\n').filter((line) => line !== '')
    const page = lines.map((line) => Buffer.from(line, 'base64'))
    found.push(...page)
    // Only where to read on: what it is worth is judged later.
    const last = claimedVersion(page.at(-1) ?? Buffer.alloc(0)) ?? after
    if (page.length < BUNDLES_PAGE || last <= after) break
    after = last
  }
  return found.slice(0, BUNDLES_MAX)
}

async function ask(
  gateway: URL,
  purpose: ProofPurpose,
  { credential, issuingKeys, egress, refuse }: Trusting,
  more: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, unknown>>> {
  const { certificatePem, keyPem, bundlePem, identity } = credential
  const certificate = pemBlocks(certificatePem, 'CERTIFICATE')[0]?.toString('base64')
  const key = createPrivateKey(keyPem)
  const trust: Trust = { bundlePem, trustDomain: identity.trustDomain, issuingKeys, egress, refuse }
  const answer = await requestHttps(
    {
      url: new URL(`${POSTERN_PATH}${purpose}`, gateway),
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: (exporter) => {
        const signature = makeProof(key, purpose, exporter).toString('base64')
        return JSON.stringify({ certificate, signature, ...more })
      },
    },
    trust,
  )
  if (answer.status !== 200)
    throw refusalOf(answer.body) ?? failed(gateway, answer.status, answer.body)
  try {
    const value: unknown = JSON.parse(answer.body)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Falls through to the error at the end.
  }
  throw invalidAnswer('it is no JSON object')
}

function failed(gateway: URL, status: number, body: string): PosternError {
  const text = printable(body.trim().slice(0, 200))
  return new PosternError('ENROL_FAILED', `${gateway.host} answered ${String(status)}: ${text}`)
}
