import type { Clock } from '../../base/clock.ts'
import { PosternError, type ErrorCode } from '../../base/errors.ts'
import type { Verdict } from '../../contract/verdict.ts'
import { BASE64 } from '../../identity/pem.ts'
import { writeCertsOnly } from '../../identity/certs-only.ts'
import { readSigningRequest } from '../../identity/csr.ts'
import { judgeProof, type ProofPurpose } from '../../identity/key-proof.ts'
import { identityUri } from '../../identity/name.ts'
import { readCertificate } from '../../identity/validation/validation.ts'
import { json, type HttpResponse } from '../../transport/http-answer.ts'
import type { HttpRequest } from '../../transport/https-listen.ts'
import type { Issuer } from '../ca/ca.ts'

const VERDICT_OF: Partial<Record<ErrorCode, Verdict>> = {
  RENEWAL_REFUSED: 'unknown-issuer',
  CERT_SUPERSEDED: 'superseded',
  IDENTITY_REVOKED: 'revoked',
  CLUSTER_LOCKED: 'locked',
}

/** The values and collaborators that Proofs is given. */
export interface ProofsPorts {
  readonly issuer: Issuer
  readonly trustDomain: string
  readonly clock: Clock
  readonly isRetiredIssuer: (issuer: string) => boolean
}

interface Proven {
  readonly certificate: Buffer
  readonly actor: string
  readonly signingRequest: Buffer
}

/**
 * `diagnose` and `recover`, where nobody is asked for a certificate in the handshake: who asks proves
 * to hold the key by a signature over the TLS exporter. So an expired certificate can be answered for
 * without a listener that lets unverified ones in.
 */
export class Proofs {
  readonly #ports: ProofsPorts

  constructor(ports: ProofsPorts) {
    this.#ports = ports
  }

  /** Answers a proof that somebody holds the key of a certificate. @throws codes of the proof, of the request and of recover */
  async handle(request: HttpRequest, purpose: ProofPurpose): Promise<HttpResponse> {
    const { clock } = this.#ports
    const proven = await this.#judge(request, purpose)
    if (purpose === 'diagnose') return json(200, await this.#diagnose(proven))
    const asker = { address: request.address, nowMs: clock.wallMs() }
    const { issuer } = this.#ports
    const csr = readSigningRequest(proven.signingRequest)
    const der = await issuer.recover(proven.certificate, csr, asker)
    const certificates = writeCertsOnly([der, ...issuer.chain]).toString('base64')
    return json(200, { certificates })
  }

  async #diagnose({ certificate }: Proven): Promise<object> {
    const nowMs = this.#ports.clock.wallMs()
    const { notBeforeMs, notAfterMs } = readCertificate(certificate)
    const times = {
      timeMs: Math.round(nowMs),
      notBefore: new Date(notBeforeMs).toISOString(),
      notAfter: new Date(notAfterMs).toISOString(),
    }
    let issuer: string
    try {
      ;({ issuer } = await this.#ports.issuer.judged(certificate))
    } catch (error) {
      const verdict = error instanceof PosternError ? VERDICT_OF[error.code] : undefined
      if (verdict === undefined) throw error
      return { verdict, text: (error as PosternError).rawMessage, ...times }
    }
    if (this.#ports.isRetiredIssuer(issuer))
      return {
        verdict: 'unknown-issuer',
        text: 'its CA is retired: it must be renewed',
        mayRenew: true,
        ...times,
      }
    if (nowMs < notBeforeMs)
      return { verdict: 'not-yet-valid', text: 'by the clock of the gateway', ...times }
    if (nowMs >= notAfterMs)
      return { verdict: 'expired', text: 'by the clock of the gateway', ...times }
    return { verdict: 'fine', text: 'the gateway would let it in', ...times }
  }

  /** @throws MALFORMED_CALL, CERT_UNTRUSTED, CERT_LEAF_RULES and identity codes */
  async #judge({ body, exporter }: HttpRequest, purpose: ProofPurpose): Promise<Proven> {
    const binding = exporter()
    if (binding === undefined) throw malformed('TLS 1.3 is needed')
    const fields = fieldsOf(await body())
    const { trustDomain } = this.#ports
    const certificate = bytesOf(fields, 'certificate')
    const expected = { purpose, exporter: binding, trustDomain }
    const identity = judgeProof(certificate, bytesOf(fields, 'signature'), expected)
    const signingRequest =
      purpose === 'recover' ? bytesOf(fields, 'signingRequest') : Buffer.alloc(0)
    return { certificate, actor: identityUri(identity), signingRequest }
  }
}

function fieldsOf(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const fields: unknown = JSON.parse(body.toString('utf8'))
    if (typeof fields === 'object' && fields !== null) return fields as Record<string, unknown>
  } catch {
    // Falls through to the error at the end.
  }
  throw malformed('the body is no JSON object')
}

function bytesOf(fields: Readonly<Record<string, unknown>>, name: string): Buffer {
  const value = fields[name]
  if (typeof value === 'string' && value !== '' && BASE64.test(value))
    return Buffer.from(value, 'base64')
  throw malformed(`${name} is not base64`)
}

function malformed(what: string): PosternError {
  return new PosternError('MALFORMED_CALL', what)
}
