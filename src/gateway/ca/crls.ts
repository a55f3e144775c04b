import type { Clock } from '../../base/clock.ts'
import { makeCrl } from '../../identity/make-crl.ts'
import type { Authority } from '../../identity/authority.ts'
import type { Authorities } from './authorities.ts'
import { listCertificates } from './certificate-book.ts'
import { credentialsOfRow, type Denials } from '../access/access.ts'

/** A list is good for a day, and made anew at half of that: who relies on it may miss one. */
const LIFE_MS = 24 * 3_600_000
const FRESH_MS = LIFE_MS / 2

interface Published {
  readonly der: Buffer
  readonly madeAtMs: number
}

/** Signed lists of what is revoked (RFC 5280 section 5), one for each issuing CA that is trusted. */
export class Crls {
  readonly #authorities: Authorities
  readonly #denials: Denials
  readonly #clock: Clock
  #byName = new Map<string, Published>()
  #number = 0
  /** Of the CAs of gateways, for agents; and these CAs, in DER. */
  gatewayLists: readonly Buffer[] = []
  gatewayAuthorities: readonly Buffer[] = []

  constructor(authorities: Authorities, denials: Denials, clock: Clock) {
    this.#authorities = authorities
    this.#denials = denials
    this.#clock = clock
  }

  /** `agents` and `gateways` are those of the active CAs; the others have the key identifier as name. */
  get(name: string): Buffer | undefined {
    return this.#byName.get(name)?.der
  }

  get isStale(): boolean {
    const nowMs = this.#clock.wallMs()
    return [...this.#byName.values()].some(({ madeAtMs }) => nowMs - madeAtMs > FRESH_MS)
  }

  /** Makes all of them anew. */
  async refresh(): Promise<void> {
    const { rows, active } = this.#authorities
    const byName = new Map<string, Published>()
    const gatewayLists: Buffer[] = []
    const gatewayAuthorities: Buffer[] = []
    for (const row of rows) {
      if (row.phase === 'retired' || row.phase === 'abandoned') continue
      const { agents, gateways } = this.#authorities.read(row)
      const lists = [await this.#make(agents), await this.#make(gateways)] as const
      byName.set(agents.keyId, lists[0])
      byName.set(gateways.keyId, lists[1])
      gatewayLists.push(lists[1].der)
      gatewayAuthorities.push(gateways.der)
      if (row.id !== active.row.id) continue
      byName.set('agents', lists[0])
      byName.set('gateways', lists[1])
    }
    this.#byName = byName
    this.gatewayLists = gatewayLists
    this.gatewayAuthorities = gatewayAuthorities
  }

  async #make(issuer: Authority): Promise<Published> {
    const madeAtMs = this.#clock.wallMs()
    // Seconds: they grow over restarts and over replicas too.
    this.#number = Math.max(Math.floor(madeAtMs / 1000), this.#number + 1)
    const der = await makeCrl(issuer, {
      number: this.#number,
      thisUpdateMs: madeAtMs,
      nextUpdateMs: madeAtMs + LIFE_MS,
      revoked: await this.#revokedOf(issuer.keyId, madeAtMs),
    })
    return { der, madeAtMs }
  }

  async #revokedOf(issuer: string, nowMs: number): Promise<{ serial: string; atMs: number }[]> {
    const { records } = this.#authorities.parts
    const found = new Map<string, number>()
    for (const { kind, issuer: of, serial, at } of this.#denials.rows)
      if (kind === 'certificate' && of === issuer && serial !== null) found.set(serial, at)
    const rows = await listCertificates({ issuer, expiresAfterMs: nowMs }, records.database)
    for (const row of rows) {
      if (found.has(row.serial)) continue
      // A lock is no revocation: it may be lifted.
      const denial = this.#denials.denialOf(credentialsOfRow(row))
      if (denial?.code === 'IDENTITY_REVOKED') found.set(row.serial, nowMs)
    }
    return [...found].map(([serial, atMs]) => ({ serial, atMs }))
  }
}
