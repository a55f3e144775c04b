import { LogLimiter } from '../base/log-limiter.ts'
import type { GatewaySettings } from '../config/gateway-settings.ts'
import type { KeyProtection } from '../identity/key-protection.ts'
import { pemText } from '../identity/pem.ts'
import type { HandshakeLimits } from '../transport/handshake-gate.ts'
import { HttpsListener, type AddressInfo } from '../transport/https-listen.ts'
import type { NetworkBudget } from '../transport/network-budget.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import type { Admission } from './admission.ts'
import { Authorities } from './authorities.ts'
import { Crls } from './crls.ts'
import { EnrolmentHttp } from './enrolment-http.ts'
import { Est } from './est.ts'
import type { Issuer } from './issuer.ts'
import { issuerOf } from './local-issuer.ts'
import type { OwnIdentity } from './own-identity.ts'
import { Proofs } from './proofs.ts'

export interface EnrolmentParts {
  readonly settings: GatewaySettings
  readonly directory: string
  readonly own: OwnIdentity
  readonly admission: Admission
  readonly protection: KeyProtection
  readonly limits: HandshakeLimits
  readonly ambient: Ambient
  /** What the networks of strangers may cost. */
  readonly strangers: NetworkBudget
  /** The gateway has another certificate, or other roots to trust. */
  readonly onOwnChanged: () => void
  /** Agents are to be told: of another bundle, of lists, or to renew. */
  readonly onNews: () => void
}

/** Everything of a gateway that makes certificates: its CAs, the issuer, and two listeners. */
export class Enrolment {
  readonly authorities: Authorities
  readonly issuer: Issuer
  readonly crls: Crls
  /** How requests of the listeners ended. */
  readonly answers: ReadonlyMap<string, number>
  readonly #parts: EnrolmentParts
  readonly #log: LogLimiter
  readonly #listeners: readonly [HttpsListener, HttpsListener]
  #denialRevision = -1
  #haveCasChanged = false
  #areListsStale = false

  constructor(parts: EnrolmentParts) {
    this.#parts = parts
    const { settings, directory, own, admission, protection, limits, ambient } = parts
    const { records, denials, events } = admission
    const { trustDomain } = settings
    const { clock, random } = ambient
    const initialBundlePem = own.credential.bundlePem
    this.authorities = new Authorities({
      records,
      directory,
      protection,
      trustDomain,
      initialBundlePem,
    })
    this.crls = new Crls(this.authorities, denials, clock)
    const logger = ambient.logger.child({ component: 'enrolment' })
    this.#log = new LogLimiter(logger, clock, 1 / 60, 3)
    const { authorities } = this
    this.issuer = issuerOf({ settings, records, denials, authorities, random })
    const est = new Est({ issuer: this.issuer, authorities: this.authorities, clock })
    const isRetiredIssuer = (issuer: string): boolean => authorities.isRetired(issuer)
    const proofs = new Proofs({ issuer: this.issuer, trustDomain, clock, isRetiredIssuer })
    const { crls } = this
    const http = new EnrolmentHttp({ est, proofs, crls, authorities, events, clock, logger })
    this.answers = http.answers
    const expected = { trustDomain, roles: ['agent' as const, 'caller' as const] }
    const listener = (key: 'enroll.listen' | 'enroll.renewListen', isMutual: boolean) =>
      new HttpsListener({
        address: settings[key],
        expected: isMutual ? expected : undefined,
        credential: own.credential,
        ...(isMutual ? { intermediatesPem: () => this.#intermediatesPem() } : {}),
        limits,
        clock,
        logger,
        budget: parts.strangers,
        handle: (request) => http.handle(request),
      })
    this.#listeners = [listener('enroll.listen', false), listener('enroll.renewListen', true)]
    admission.isRetiredIssuer = isRetiredIssuer
  }

  #intermediatesPem(): string {
    // Before the first look there are none, and nobody can knock.
    const { rows } = this.authorities
    return rows.length === 0
      ? ''
      : this.issuer.chain.map((der) => pemText('CERTIFICATE', der)).join('')
  }

  /** Takes the CAs as they stand, before anybody can knock. @throws what Authorities.refresh throws */
  async prepare(): Promise<void> {
    const { own, ambient } = this.#parts
    await this.authorities.refresh()
    await own.enter(this.#parts.admission)
    try {
      await this.#renewOwn()
    } catch (error) {
      // A disk that is full is no reason not to start with a certificate that is good.
      if (own.credential.notAfterMs <= ambient.clock.wallMs()) throw error
      ambient.logger.error({ err: error }, 'the certificate of the gateway could not be renewed')
    }
    this.useCredential()
    await this.#refreshCrls()
    this.#parts.admission.addTask(() => this.#look())
  }

  /** Resolves to the addresses bound. @throws LISTEN_FAILED */
  async listen(): Promise<{ readonly enroll: AddressInfo; readonly renew: AddressInfo }> {
    const [enroll, renew] = this.#listeners
    return { enroll: await enroll.listen(), renew: await renew.listen() }
  }

  close(): void {
    for (const listener of this.#listeners) listener.close()
  }

  /** The listeners go on with the gateway's present certificate. */
  useCredential(): void {
    for (const listener of this.#listeners) listener.use(this.#parts.own.credential)
  }

  async #look(): Promise<void> {
    const { admission, onNews } = this.#parts
    if (await this.authorities.refresh()) this.#haveCasChanged = true
    if (this.#denialRevision !== admission.denials.revision || this.crls.isStale)
      this.#areListsStale = true
    // Who was let in under a CA that is retired is cut first: nothing below can keep that up.
    if (this.#haveCasChanged) {
      admission.sweep()
      this.useCredential()
    }
    await this.#renewOwn()
    if (!this.#haveCasChanged && !this.#areListsStale) return
    await this.#refreshCrls()
    onNews()
    // Not before all of it is done: a look that fails halfway is made again.
    this.#haveCasChanged = false
    this.#areListsStale = false
  }

  async #renewOwn(): Promise<void> {
    const { own, ambient, admission, onOwnChanged } = this.#parts
    // Whose key was stolen gets another one; agents refuse the one before.
    const denial = admission.denials.judge(own.credentials)
    if (denial !== undefined && !own.isManaged)
      this.#log.warn('OWN', { code: denial.code }, 'our own certificate is revoked: replace it')
    if (!(await own.renew(this.authorities, denial !== undefined))) return
    const notAfter = new Date(own.credential.notAfterMs).toISOString()
    ambient.logger.info({ notAfter }, 'the certificate of the gateway is renewed')
    this.useCredential()
    onOwnChanged()
  }

  async #refreshCrls(): Promise<void> {
    const { revision } = this.#parts.admission.denials
    await this.crls.refresh()
    this.#denialRevision = revision
  }
}
