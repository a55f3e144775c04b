import type { GatewaySettings } from '../config/gateway-settings.ts'
import type { Authority } from '../identity/authority.ts'
import { readAuthority } from '../identity/authority-files.ts'
import type { Credential } from '../identity/key-files.ts'
import type { HandshakeLimits } from '../transport/handshake-gate.ts'
import { HttpsListener, type AddressInfo } from '../transport/https-listen.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import { Est } from './est.ts'
import { Issuer } from './issuer.ts'
import { Records } from './records/records.ts'
import { Tokens } from './tokens.ts'

export interface EnrolmentParts {
  readonly settings: GatewaySettings
  readonly directory: string
  readonly credential: Credential
  readonly limits: HandshakeLimits
  readonly ambient: Ambient
}

/** Everything of a gateway that makes certificates: the store, the issuer, and its two listeners. */
export class Enrolment {
  readonly #parts: EnrolmentParts
  readonly #authority: Authority
  #running:
    | {
        readonly records: Records
        readonly issuer: Issuer
        readonly listeners: readonly HttpsListener[]
      }
    | undefined

  /** @throws what readAuthority throws */
  constructor(parts: EnrolmentParts) {
    this.#parts = parts
    this.#authority = readAuthority(parts.directory, 'agents')
  }

  get issuer(): Issuer | undefined {
    return this.#running?.issuer
  }

  /** Resolves to the addresses bound. @throws RECORDS_UNUSABLE, LISTEN_FAILED */
  async start(): Promise<{ readonly enroll: AddressInfo; readonly renew: AddressInfo }> {
    const { settings, credential, limits, ambient } = this.#parts
    const { clock, random } = ambient
    const records = await Records.open(settings['records.file'])
    const logger = ambient.logger.child({ component: 'enrolment' })
    const issuer = new Issuer({
      authority: this.#authority,
      trustDomain: settings.trustDomain,
      leafLifetimeMs: settings['enroll.leafLifetime'],
      records,
      tokens: new Tokens(records, random),
      random,
    })
    const est = new Est({ issuer, records, bundlePem: credential.bundlePem, clock, logger })
    const expected = { trustDomain: settings.trustDomain, roles: ['agent' as const] }
    const [enroll, renew] = [
      { address: settings['enroll.listen'], expected: undefined },
      { address: settings['enroll.renewListen'], expected },
    ].map(
      (where) =>
        new HttpsListener({
          ...where,
          credential,
          limits,
          clock,
          logger,
          handle: (request) => est.handle(request),
        }),
    ) as [HttpsListener, HttpsListener]
    this.#running = { records, issuer, listeners: [enroll, renew] }
    return { enroll: await enroll.listen(), renew: await renew.listen() }
  }

  async close(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    for (const listener of running?.listeners ?? []) listener.close()
    await running?.records.close()
  }
}
