import { PosternError, printable } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import type { Logger } from '../base/logger.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { writeCertsOnly } from '../identity/certs-only.ts'
import { readSigningRequest, type SigningRequest } from '../identity/csr.ts'
import { element, oid, sequence } from '../identity/der-write.ts'
import { TAG } from '../identity/der.ts'
import { identityUri } from '../identity/name.ts'
import { pemBlocks } from '../identity/pem.ts'
import { networkOf } from '../transport/handshake-gate.ts'
import { text, type HttpRequest, type HttpResponse } from '../transport/https-listen.ts'
import type { Issuer } from './issuer.ts'
import type { Records } from './records/records.ts'

const BASE = '/.well-known/est/'
/** Enrolments of one network: a fleet behind one address gets in, a guesser does not get far. */
const TRIES_PER_SECOND = 5
const TRIES_BURST = 50
const NETWORKS_MAX = 10_000
/** Refusals written to the store; a flood of them goes to the log alone, which is limited itself. */
const NOTES_PER_SECOND = 2
const NOTES_BURST = 200
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

export interface EstParts {
  readonly issuer: Issuer
  readonly records: Records
  /** Roots to trust, in PEM. */
  readonly bundlePem: string
  readonly clock: Clock
  readonly logger: Logger
}

/** Enrolment over Secure Transport, RFC 7030 with the clarifications of RFC 8951. */
export class Est {
  readonly #parts: EstParts
  readonly #log: LogLimiter
  readonly #tries = new Map<string, TokenBucket>()
  readonly #notes = new TokenBucket(NOTES_PER_SECOND, NOTES_BURST)

  constructor(parts: EstParts) {
    this.#parts = parts
    this.#log = new LogLimiter(parts.logger, parts.clock)
  }

  async handle(request: HttpRequest): Promise<HttpResponse> {
    const operation = request.path.startsWith(BASE) ? request.path.slice(BASE.length) : ''
    switch (operation) {
      case 'cacerts':
        return request.method === 'GET' ? this.#caCerts() : notAllowed('GET')
      case 'csrattrs':
        return request.method === 'GET' ? csrAttributes() : notAllowed('GET')
      case 'simpleenroll':
      case 'simplereenroll':
        return request.method === 'POST'
          ? await this.#issue(request, operation)
          : notAllowed('POST')
      default:
        return text(404, 'nothing is here; EST has cacerts, csrattrs, simpleenroll, simplereenroll')
    }
  }

  /** Roots and what stands below them; who asks has nothing to prove. */
  #caCerts(): HttpResponse {
    const { bundlePem, issuer } = this.#parts
    return certsOnly([...pemBlocks(bundlePem, 'CERTIFICATE'), ...issuer.chain])
  }

  async #issue(request: HttpRequest, operation: string): Promise<HttpResponse> {
    const { address, peer } = request
    if (!this.#mayTry(address)) {
      const busy = text(429, 'too many requests from this network')
      return { ...busy, headers: { ...busy.headers, 'retry-after': '10' } }
    }
    try {
      if (operation === 'simplereenroll') return await this.#renew(request)
      if (peer !== undefined) return text(403, 'enrol where no certificate is asked for')
      return await this.#enrol(request)
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      return await this.#refuse(error, request, operation)
    }
  }

  async #enrol(request: HttpRequest): Promise<HttpResponse> {
    const token = basicPassword(request.header('authorization'))
    if (token === undefined)
      return unauthorized('a join token is needed, as password of HTTP Basic')
    const { issuer, clock } = this.#parts
    const csr = readBody(request)
    const asker = { address: request.address, nowMs: clock.wallMs() }
    return certsOnly([await issuer.enrol(token, csr, asker)])
  }

  async #renew(request: HttpRequest): Promise<HttpResponse> {
    const { peer, address } = request
    if (peer === undefined)
      return text(
        403,
        'renew at the other address, which asks for the certificate (enroll.renewListen)',
      )
    const { issuer, clock } = this.#parts
    const csr = readBody(request)
    return certsOnly([await issuer.renew(peer.leaf, csr, { address, nowMs: clock.wallMs() })])
  }

  /** Our log and our records say why; the client is told no more than it may know. */
  async #refuse(
    error: PosternError,
    { address, peer }: HttpRequest,
    operation: string,
  ): Promise<HttpResponse> {
    const { code, rawMessage: reason } = error
    const { records, clock } = this.#parts
    this.#log.warn(code, { code, peer: address, operation, reason }, 'refused an enrolment')
    if (this.#notes.take(clock.nowMs())) {
      await records.note({
        at: clock.wallMs(),
        kind: 'enrolment.refused',
        actor: peer === undefined ? 'unknown' : identityUri(peer.identity),
        address,
        detail: `${code}: ${reason}`,
      })
    }
    switch (code) {
      case 'TOKEN_REFUSED':
        return unauthorized('the join token is not taken')
      case 'CSR_INVALID':
        return text(400, printable(reason))
      default:
        return text(403, printable(`${code}: ${reason}`))
    }
  }

  #mayTry(address: string): boolean {
    const network = networkOf(address)
    let bucket = this.#tries.get(network)
    if (bucket === undefined) {
      if (this.#tries.size >= NETWORKS_MAX) this.#tries.clear()
      bucket = new TokenBucket(TRIES_PER_SECOND, TRIES_BURST)
      this.#tries.set(network, bucket)
    }
    return bucket.take(this.#parts.clock.nowMs())
  }
}

/** RFC 7030 section 4.2.1, RFC 8951 section 3: base64 of DER, white space skipped. @throws CSR_INVALID */
function readBody({ body, header }: HttpRequest): SigningRequest {
  const type = (header('content-type') ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/pkcs10')
    throw new PosternError('CSR_INVALID', 'the content type must be application/pkcs10')
  const base64 = body.toString('latin1').replace(/[\r\n\t ]+/g, '')
  if (base64.startsWith('-----BEGIN'))
    throw new PosternError('CSR_INVALID', 'the body must be base64 of DER, without PEM armour')
  if (!BASE64.test(base64) || base64.length % 4 !== 0)
    throw new PosternError('CSR_INVALID', 'the body is not base64 of DER')
  return readSigningRequest(Buffer.from(base64, 'base64'))
}

/** The password of HTTP Basic (RFC 7617), whatever the user name. */
function basicPassword(header: string | undefined): string | undefined {
  const encoded = /^basic ([A-Za-z0-9+/]+={0,2})$/i.exec(header ?? '')?.[1]
  if (encoded === undefined) return undefined
  const decoded = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  return colon === -1 ? undefined : decoded.slice(colon + 1)
}

function certsOnly(certificates: readonly Buffer[]): HttpResponse {
  return base64Body('application/pkcs7-mime; smime-type=certs-only', writeCertsOnly(certificates))
}

/** RFC 7030 section 4.5.2: an EC key on P-256 and a signature to fit are what we would like. */
function csrAttributes(): HttpResponse {
  const curve = element(TAG.set, oid('1.2.840.10045.3.1.7'))
  const attributes = sequence(sequence(oid('1.2.840.10045.2.1'), curve), oid('1.2.840.10045.4.3.2'))
  return base64Body('application/csrattrs', attributes)
}

/** In lines and with the header, for old clients; new ones ignore both (RFC 8951 section 3.1). */
function base64Body(type: string, der: Buffer): HttpResponse {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return {
    status: 200,
    headers: { 'content-type': type, 'content-transfer-encoding': 'base64' },
    body: `${lines.join('\n')}\n`,
  }
}

function unauthorized(body: string): HttpResponse {
  const answer = text(401, body)
  return { ...answer, headers: { ...answer.headers, 'www-authenticate': 'Basic realm="postern"' } }
}

function notAllowed(method: string): HttpResponse {
  const answer = text(405, `this takes ${method}`)
  return { ...answer, headers: { ...answer.headers, allow: method } }
}
