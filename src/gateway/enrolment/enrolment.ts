import { Listeners } from '../../base/listeners.ts'
import { LogLimiter } from '../../base/log-limiter.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import { certificatePem } from '../../identity/pem.ts'
import type { HandshakeLimits } from '../../transport/handshake-gate.ts'
import { HttpsListener, type AddressInfo } from '../../transport/https-listen.ts'
import type { NetworkBudget } from '../../transport/network-budget.ts'
import type { TrustedProxies } from '../../transport/trusted-proxies.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { Access } from '../access/access.ts'
import type { CertificateAuthority, OwnIdentity } from '../ca/ca.ts'
import { EnrolmentHttp } from './http.ts'
import { Est } from './est.ts'
import { Proofs } from './proofs.ts'

/** The values and collaborators that Enrolment is given. */
export interface EnrolmentPorts {
  readonly settings: GatewaySettings
  readonly own: OwnIdentity
  readonly access: Access
  readonly ca: CertificateAuthority
  readonly limits: HandshakeLimits
  readonly ambient: Ambient
  /** What the networks of strangers may cost. */
  readonly strangers: NetworkBudget
  readonly proxies: TrustedProxies
}

/** The gateway's two listeners for enrolment and renewal, and the upkeep of what its CA has published. */
export class Enrolment {
  /** How requests of the listeners ended. */
  readonly answers: ReadonlyMap<string, number>
  /** The gateway has another certificate. */
  readonly ownChanged = new Listeners()
  /** Agents are to be told: of another bundle, of lists, or to renew. */
  readonly news = new Listeners()
  readonly #ports: EnrolmentPorts
  readonly #log: LogLimiter
  readonly #listeners: readonly [HttpsListener, HttpsListener]
  #denialRevision = -1
  #haveCasChanged = false
  #areListsStale = false

  constructor(ports: EnrolmentPorts) {
    this.#ports = ports
    const { settings, own, access, ca, limits, ambient } = ports
    const { authorities, issuer, crls } = ca
    const { trustDomain } = settings
    const { clock } = ambient
    const logger = ambient.logger.child({ component: 'enrolment' })
    this.#log = new LogLimiter(logger, clock, 1 / 60, 3)
    const est = new Est({ issuer, authorities, clock })
    const isRetiredIssuer = (key: string): boolean => ca.isRetired(key)
    const proofs = new Proofs({ issuer, trustDomain, clock, isRetiredIssuer })
    const { events } = access
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
        budget: ports.strangers,
        proxies: ports.proxies,
        handle: (request) => http.handle(request),
      })
    this.#listeners = [listener('enroll.listen', false), listener('enroll.renewListen', true)]
  }

  #intermediatesPem(): string {
    const { authorities, issuer } = this.#ports.ca
    // Before the first look there are none, and nobody can knock.
    return authorities.rows.length === 0 ? '' : issuer.chain.map(certificatePem).join('')
  }

  /** Takes the CAs as they stand, before anybody can knock. @throws what Authorities.refresh throws */
  async prepare(): Promise<void> {
    const { own, ambient, access, ca } = this.#ports
    await ca.authorities.refresh()
    await own.enter(access)
    try {
      await this.#renewOwn()
    } catch (error) {
      // A disk that is full is no reason not to start with a certificate that is good.
      if (own.credential.notAfterMs <= ambient.clock.wallMs()) throw error
      ambient.logger.error({ err: error }, 'the certificate of the gateway could not be renewed')
    }
    this.useCredential()
    await this.#refreshCrls()
    access.addTask(() => this.#publish())
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
    for (const listener of this.#listeners) listener.use(this.#ports.own.credential)
  }

  async #publish(): Promise<void> {
    const { access, ca } = this.#ports
    if (await ca.authorities.refresh()) this.#haveCasChanged = true
    if (this.#denialRevision !== access.denials.revision || ca.crls.isStale)
      this.#areListsStale = true
    // Who was let in under a CA that is retired is cut first: nothing below can keep that up.
    if (this.#haveCasChanged) {
      access.changed.tell()
      this.useCredential()
    }
    await this.#renewOwn()
    if (!this.#haveCasChanged && !this.#areListsStale) return
    await this.#refreshCrls()
    this.news.tell()
    // Not before all of it is done: a look that fails halfway is made again.
    this.#haveCasChanged = false
    this.#areListsStale = false
  }

  async #renewOwn(): Promise<void> {
    const { own, ambient, access, ca } = this.#ports
    // Whose key was stolen gets another one; agents refuse the one before.
    const denial = access.denials.denialOf(own.credentials)
    if (denial !== undefined && !own.isManaged)
      this.#log.warn('OWN', { code: denial.code }, 'our own certificate is revoked: replace it')
    if (!(await own.renew(ca.authorities, denial !== undefined))) return
    const notAfter = new Date(own.credential.notAfterMs).toISOString()
    ambient.logger.info({ notAfter }, 'the certificate of the gateway is renewed')
    this.useCredential()
    this.ownChanged.tell()
  }

  async #refreshCrls(): Promise<void> {
    const { access, ca } = this.#ports
    const { revision } = access.denials
    await ca.crls.refresh()
    this.#denialRevision = revision
  }
}
