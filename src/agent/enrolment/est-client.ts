import { PosternError, printable } from '../../base/errors.ts'
import { readCertsOnly } from '../../identity/certs-only.ts'
import { spkiPin } from '../../identity/keys.ts'
import { EST_PATH } from '../../contract/paths.ts'
import { BASE64, certificatePem } from '../../identity/pem.ts'
import {
  isSelfIssued,
  readCertificate,
  type CertificateFacts,
  isSignedBy,
} from '../../identity/validation/validation.ts'
import type { Egress } from '../../transport/egress.ts'
import {
  requestHttps,
  requestUnverified,
  type HttpsAnswer,
  type Trust,
} from '../../transport/https-request.ts'
import { invalidAnswer } from '../credential/credential.ts'
import { refusalOf } from './refusals.ts'

const TOKEN_ADVICE =
  "it has expired, is used up or revoked, or is another gateway's: its operators see which in gateway events, and make another with gateway tokens create --cluster NAME"

/**
 * Asks for a certificate (RFC 7030 section 4.2); what comes back is not judged yet.
 * @throws TOKEN_REFUSED, ENROL_FAILED, ENROL_ANSWER_INVALID and network codes
 */
export async function estIssue(
  gateway: URL,
  name: 'simpleenroll' | 'simplereenroll',
  signingRequest: Buffer,
  trust: Trust,
  headers: Readonly<Record<string, string>> = {},
): Promise<CertificateFacts[]> {
  const answer = await requestHttps(
    {
      url: operation(gateway, name),
      method: 'POST',
      headers: {
        ...headers,
        'content-type': 'application/pkcs10',
        'content-transfer-encoding': 'base64',
      },
      body: base64Lines(signingRequest),
    },
    trust,
  )
  judgeStatus(answer, gateway)
  return certificatesOf(answer, gateway)
}

function operation(gateway: URL, name: string): URL {
  return new URL(`${EST_PATH}${name}`, gateway)
}

/** The roots that a pin vouches for, out of what a server not yet known tells. @throws CA_PIN_MISMATCH */
export async function pinnedBundle(
  gateway: URL,
  pins: readonly string[],
  egress: Egress,
): Promise<string> {
  const answer = await requestUnverified(operation(gateway, 'cacerts'), egress).catch(
    (error: unknown) => {
      if (!(error instanceof PosternError) || error.code !== 'CERT_MISSING') throw error
      const text = `${error.rawMessage}; the enrolment address asks for none (enroll.listen of the gateway)`
      throw new PosternError('CERT_MISSING', text, error.facts, { cause: error })
    },
  )
  const told = certificatesOf(answer, gateway)
  const roots = told.filter((facts) => isSelfIssued(facts) && isSignedBy(facts, facts))
  const vouched = roots.filter(({ publicKey }) => pins.includes(spkiPin(publicKey)))
  if (vouched.length > 0) return vouched.map(({ der }) => certificatePem(der)).join('')
  const found = roots.map(({ publicKey }) => spkiPin(publicKey)).join(', ') || 'none'
  throw new PosternError(
    'CA_PIN_MISMATCH',
    `${gateway.host} has no root with the pin; its roots are ${found}. Nothing was sent to it`,
  )
}

/** Asks for the CA certificates (RFC 7030 section 4.1). @throws ENROL_FAILED, ENROL_ANSWER_INVALID and network codes */
export async function caCertificates(gateway: URL, trust: Trust): Promise<CertificateFacts[]> {
  const url = operation(gateway, 'cacerts')
  return certificatesOf(await requestHttps({ url, method: 'GET' }, trust), gateway)
}

/** @throws TOKEN_REFUSED, ENROL_FAILED */
function judgeStatus({ status, body, header }: HttpsAnswer, gateway: URL): void {
  if (status === 200) return
  const text = printable(body.trim().slice(0, 200))
  const refusal = status === 403 ? refusalOf(body) : undefined
  if (refusal !== undefined) throw refusal
  if (status === 401)
    throw new PosternError('TOKEN_REFUSED', `${gateway.host}: ${text}; ${TOKEN_ADVICE}`)
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
