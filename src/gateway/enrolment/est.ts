import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { writeCertsOnly } from '../../identity/certs-only.ts'
import { readSigningRequest, type SigningRequest } from '../../identity/csr.ts'
import { element, oid, sequence } from '../../identity/der-write.ts'
import { TAG } from '../../identity/der.ts'
import { EST_PATH } from '../../contract/paths.ts'
import { BASE64, pemBlocks } from '../../identity/pem.ts'
import { notAllowed, text, type HttpResponse } from '../../transport/http-answer.ts'
import type { HttpRequest } from '../../transport/https-listen.ts'
import type { Authorities, Issuer } from '../ca/ca.ts'

/** The values and collaborators that Est is given. */
export interface EstPorts {
  readonly issuer: Issuer
  readonly authorities: Authorities
  readonly clock: Clock
}

/** Enrolment over Secure Transport, RFC 7030 with the clarifications of RFC 8951. */
export class Est {
  readonly #ports: EstPorts

  constructor(ports: EstPorts) {
    this.#ports = ports
  }

  /** Answers one request of EST (RFC 7030). @throws TOKEN_REFUSED, CSR_INVALID, RENEWAL_REFUSED and identity codes */
  async handle(request: HttpRequest): Promise<HttpResponse> {
    const { method, path } = request
    switch (path.slice(EST_PATH.length)) {
      case 'cacerts':
        return method === 'GET' ? this.#caCerts() : notAllowed('GET')
      case 'csrattrs':
        return method === 'GET' ? csrAttributes() : notAllowed('GET')
      case 'simpleenroll':
        return method === 'POST' ? await this.#enroll(request) : notAllowed('POST')
      case 'simplereenroll':
        return method === 'POST' ? await this.#renew(request) : notAllowed('POST')
      default:
        return text(404, 'nothing is here; EST has cacerts, csrattrs, simpleenroll, simplereenroll')
    }
  }

  /** Roots and what stands below them; who asks has nothing to prove. */
  #caCerts(): HttpResponse {
    const { authorities, issuer } = this.#ports
    return certsOnly([...pemBlocks(authorities.bundle.pem, 'CERTIFICATE'), ...issuer.chain])
  }

  async #enroll(request: HttpRequest): Promise<HttpResponse> {
    if (request.peer !== undefined) return text(403, 'enrol where no certificate is asked for')
    const token = basicPassword(request.header('authorization'))
    if (token === undefined)
      return unauthorized('a join token is needed, as password of HTTP Basic')
    const { issuer, clock } = this.#ports
    const asker = { address: request.address, nowMs: clock.wallMs() }
    return certsOnly([await issuer.enroll(token, () => readCsr(request), asker)])
  }

  async #renew(request: HttpRequest): Promise<HttpResponse> {
    const { peer, address } = request
    if (peer === undefined)
      return text(
        403,
        'renew at the other address, which asks for the certificate (enroll.renewListen)',
      )
    const { issuer, clock } = this.#ports
    const csr = await readCsr(request)
    return certsOnly([await issuer.renew(peer.leaf, csr, { address, nowMs: clock.wallMs() })])
  }
}

/** RFC 7030 section 4.2.1, RFC 8951 section 3: base64 of DER, white space skipped. @throws CSR_INVALID */
async function readCsr({ body, header }: HttpRequest): Promise<SigningRequest> {
  const type = (header('content-type') ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/pkcs10')
    throw new PosternError('CSR_INVALID', 'the content type must be application/pkcs10')
  const base64 = (await body()).toString('latin1').replace(/[\r\n\t ]+/g, '')
  if (base64.startsWith('-----BEGIN'))
    throw new PosternError('CSR_INVALID', 'the body must be base64 of DER, without PEM armour')
  if (base64 === '' || !BASE64.test(base64))
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
    headers: { 'Content-Type': type, 'Content-Transfer-Encoding': 'base64' },
    body: `${lines.join('\n')}\n`,
  }
}

/** Makes the answer 401 with the challenge of HTTP Basic (RFC 7617). */
export function unauthorized(body: string): HttpResponse {
  const answer = text(401, body)
  return { ...answer, headers: { ...answer.headers, 'WWW-Authenticate': 'Basic realm="postern"' } }
}
