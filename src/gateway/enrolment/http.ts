import type { Clock } from '../../base/clock.ts'
import { PosternError, printable } from '../../base/errors.ts'
import { LogLimiter } from '../../base/log-limiter.ts'
import type { Logger } from '../../base/logger.ts'
import { identityUri } from '../../identity/name.ts'
import { notAllowed, text, type HttpResponse } from '../../transport/http-answer.ts'
import type { HttpRequest } from '../../transport/https-listen.ts'
import type { Authorities, Crls } from '../ca/ca.ts'
import { type EventLog, NetworkRate } from '../access/access.ts'
import { BUNDLES_PAGE, EST_PATH, POSTERN_PATH } from '../../contract/paths.ts'
import { unauthorized, type Est } from './est.ts'
import type { Proofs } from './proofs.ts'

const CRL = /^\/crl\/([0-9a-z]{1,64})\.crl$/
const BUNDLES = /^bundles\/(\d{1,9})$/

/** The values and collaborators that EnrolmentHttp is given. */
export interface EnrolmentHttpPorts {
  readonly est: Est
  readonly proofs: Proofs
  readonly crls: Crls
  readonly authorities: Authorities
  readonly events: EventLog
  readonly clock: Clock
  readonly logger: Logger
}

/** A bundle is cheap to answer, and public. */
const BUNDLES_PER_SECOND = 100
const BUNDLES_BURST = 1000

/** What the two enrolment listeners answer, and to whom how often. */
export class EnrolmentHttp {
  readonly #ports: EnrolmentHttpPorts
  readonly #log: LogLimiter
  readonly #rate = new NetworkRate()
  /** Every newcomer reads the bundles once, a thousand of them behind one address too. */
  readonly #bundleRate = new NetworkRate(BUNDLES_PER_SECOND, BUNDLES_BURST)
  /** How requests for something ended: issued, or the code of the refusal. */
  readonly answers = new Map<string, number>()

  constructor(ports: EnrolmentHttpPorts) {
    this.#ports = ports
    this.#log = new LogLimiter(ports.logger, ports.clock)
  }

  async handle(request: HttpRequest): Promise<HttpResponse> {
    const { path, method } = request
    const isPost = method === 'POST'
    const isProof = path.startsWith(POSTERN_PATH)
    const isBundle = isProof && !isPost && BUNDLES.test(path.slice(POSTERN_PATH.length))
    const rate = isBundle ? this.#bundleRate : isPost || isProof ? this.#rate : undefined
    if (rate?.take(request.address, this.#ports.clock.nowMs()) === false)
      return busy('too many requests from this network')
    try {
      if (path.startsWith(EST_PATH)) {
        const answer = await this.#ports.est.handle(request)
        if (isPost && answer.status === 200) {
          this.#count('issued')
          this.#rate.give(request.address)
        }
        return answer
      }
      if (isProof) return await this.#ours(request, path.slice(POSTERN_PATH.length))
      const name = CRL.exec(path)?.[1]
      if (name !== undefined) return method === 'GET' ? this.#crl(name) : notAllowed('GET')
      return text(404, 'nothing is here')
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      return this.#refuse(error, request)
    }
  }

  #count(result: string): void {
    this.answers.set(result, (this.answers.get(result) ?? 0) + 1)
  }

  async #ours(request: HttpRequest, rest: string): Promise<HttpResponse> {
    const { proofs, authorities } = this.#ports
    if (rest === 'diagnose' || rest === 'recover')
      return request.method === 'POST' ? await proofs.handle(request, rest) : notAllowed('POST')
    const version = BUNDLES.exec(rest)?.[1]
    if (version === undefined) return text(404, 'nothing is here')
    if (request.method !== 'GET') return notAllowed('GET')
    // Signed by roots: what they are worth is for the reader to judge.
    const bundles = await authorities.bundlesSince(Number(version), BUNDLES_PAGE)
    return text(200, bundles.map((bytes) => bytes.toString('base64')).join('\n'))
  }

  #crl(name: string): HttpResponse {
    const der = this.#ports.crls.get(name)
    if (der === undefined) return text(404, 'no such list')
    return { status: 200, headers: { 'Content-Type': 'application/pkix-crl' }, body: der }
  }

  /** Our log and our records say why; the client is told no more than it may know. */
  #refuse(error: PosternError, { address, peer, path }: HttpRequest): HttpResponse {
    const { code, rawMessage: reason } = error
    const { events, clock } = this.#ports
    this.#count(code)
    const operation = printable(path)
    this.#log.warn(code, { code, peer: address, operation, reason }, 'refused an enrolment')
    const uri = peer === undefined ? undefined : identityUri(peer.identity)
    events.note({
      at: clock.wallMs(),
      kind: 'enrolment.refused',
      actor: uri ?? 'unknown',
      ...(uri === undefined ? {} : { identity: uri }),
      address,
      detail: `${code}: ${reason}`,
    })
    switch (code) {
      case 'FLOOD':
        return busy(reason)
      case 'TOKEN_REFUSED':
        return unauthorized('the join token is not taken')
      case 'CSR_INVALID':
      case 'MALFORMED_CALL':
        return text(400, printable(`${code}: ${reason}`))
      default:
        return text(403, printable(`${code}: ${reason}`))
    }
  }
}

function busy(why: string): HttpResponse {
  const answer = text(429, why)
  return { ...answer, headers: { ...answer.headers, 'Retry-After': '10' } }
}
