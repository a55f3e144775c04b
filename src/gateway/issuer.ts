import type { Authority } from '../identity/authority.ts'
import { USAGE_CLIENT } from '../identity/authority.ts'
import { PosternError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { SigningRequest } from '../identity/csr.ts'
import { spkiPin } from '../identity/keys.ts'
import { identityUri, type Identity } from '../identity/name.ts'
import { readCertificate } from '../identity/validation/certificate.ts'
import { BACKDATE_MS } from './init.ts'
import type { Database, Records } from './records/records.ts'
import type { CertificateRow } from './records/schema.ts'
import type { Tokens } from './tokens.ts'

/** The same question within this time gets the same answer, so that a lost reply costs nothing. */
const REPEAT_MS = 10 * 60_000
const NAME_BYTES = 4

type AgentIdentity = Extract<Identity, { role: 'agent' }>

export interface IssuerParts {
  /** The issuing CA of agents and callers. */
  readonly authority: Authority
  readonly trustDomain: string
  readonly leafLifetimeMs: number
  readonly records: Records
  readonly tokens: Tokens
  readonly random: Random
}

/** Who asks, from where, and when. */
export interface Asker {
  readonly address: string
  readonly nowMs: number
}

/** The one place where agents' certificates are made: enrolment and renewal end here. */
export class Issuer {
  readonly #parts: IssuerParts
  readonly #caPin: string

  constructor(parts: IssuerParts) {
    this.#parts = parts
    this.#caPin = spkiPin(new Uint8Array(parts.authority.certificate.publicKey.rawData))
  }

  /** Issuing CA in DER: what stands between our leaves and the root. */
  get chain(): readonly Buffer[] {
    return [Buffer.from(this.#parts.authority.certificate.rawData)]
  }

  /** A first certificate, for a join token. @throws TOKEN_REFUSED, CSR_INVALID */
  async enrol(token: string, request: SigningRequest, asker: Asker): Promise<Buffer> {
    const { tokens, records, random } = this.#parts
    const row = await tokens.find(token)
    const spki = spkiPin(request.publicKeyDer)
    return await records.database.transaction().execute(async (within) => {
      const earlier = await this.#repeated(row.id, spki, asker, within)
      if (earlier !== undefined) return earlier
      await tokens.use(row, asker.nowMs, within)
      const agent = row.agent ?? `agent-${random.hex(NAME_BYTES)}`
      const identity = this.#identity(row.cluster, agent)
      return await this.#issue(identity, request, row.id, asker, within)
    })
  }

  /**
   * The next certificate of an agent, for the one that it showed in the handshake.
   * @throws RENEWAL_REFUSED, CSR_INVALID
   */
  async renew(leafDer: Buffer, request: SigningRequest, asker: Asker): Promise<Buffer> {
    const { records } = this.#parts
    const spki = spkiPin(request.publicKeyDer)
    return await records.database.transaction().execute(async (within) => {
      const row = await find(leafDer, within)
      if (row === undefined) throw refused('the certificate was not issued here')
      if (row.state === 'superseded') throw refused('a later certificate of the agent is in use')
      if (row.spki === spki) throw refused('a renewal needs a new key')
      const earlier = await this.#repeated(row.serial, spki, asker, within)
      if (earlier !== undefined) return earlier
      const identity = this.#identity(row.cluster, row.agent)
      return await this.#issue(identity, request, row.serial, asker, within)
    })
  }

  /**
   * Takes note that a certificate was used for a tunnel: a pending one becomes the agent's current
   * one, and those before it are superseded. Returns the state that it had.
   */
  async used(leafDer: Buffer, nowMs: number): Promise<CertificateRow['state'] | 'unknown'> {
    const { records } = this.#parts
    return await records.database.transaction().execute(async (within) => {
      const row = await find(leafDer, within)
      if (row === undefined) return 'unknown'
      if (row.state !== 'pending') return row.state
      const { cluster, agent, issuer, serial, issued_at } = row
      await within
        .updateTable('certificates')
        .set({ state: 'superseded' })
        .where('cluster', '=', cluster)
        .where('agent', '=', agent)
        .where('issued_at', '<=', issued_at)
        .execute()
      await within
        .updateTable('certificates')
        .set({ state: 'current' })
        .where('issuer', '=', issuer)
        .where('serial', '=', serial)
        .execute()
      const identity = identityUri(this.#identity(cluster, agent))
      await records.note(
        { at: nowMs, kind: 'certificate.used', actor: identity, identity, serial },
        within,
      )
      return 'pending'
    })
  }

  #identity(cluster: string, agent: string): AgentIdentity {
    return { role: 'agent', trustDomain: this.#parts.trustDomain, cluster, agent }
  }

  /** What was answered to the same question shortly before. */
  async #repeated(
    grant: string,
    spki: string,
    { nowMs }: Asker,
    within: Database,
  ): Promise<Buffer | undefined> {
    const row = await within
      .selectFrom('certificates')
      .select('der')
      .where('grant', '=', grant)
      .where('spki', '=', spki)
      .where('issued_at', '>', nowMs - REPEAT_MS)
      .executeTakeFirst()
    return row === undefined ? undefined : Buffer.from(row.der, 'base64')
  }

  async #issue(
    identity: AgentIdentity,
    { publicKey, publicKeyDer }: SigningRequest,
    grant: string,
    { address, nowMs }: Asker,
    within: Database,
  ): Promise<Buffer> {
    const { authority, leafLifetimeMs, records } = this.#parts
    const spki = spkiPin(publicKeyDer)
    const { cluster, agent } = identity
    await this.#judgeKey(spki, within)
    const certificate = await authority.issue(publicKey, {
      commonName: `agent ${agent} of ${cluster}`,
      uris: [identityUri(identity)],
      usage: [USAGE_CLIENT],
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + leafLifetimeMs),
    })
    const der = Buffer.from(certificate.rawData)
    const facts = readCertificate(der)
    const serial = facts.serial.toString('hex')
    await within
      .insertInto('certificates')
      .values({
        issuer: facts.extensions.authorityKeyId?.keyId ?? '',
        serial,
        cluster,
        agent,
        spki,
        not_before: facts.notBeforeMs,
        not_after: facts.notAfterMs,
        issued_at: nowMs,
        state: 'pending',
        grant,
        der: der.toString('base64'),
      })
      .execute()
    const uri = identityUri(identity)
    await records.note(
      { at: nowMs, kind: 'certificate.issued', actor: grant, identity: uri, serial, address },
      within,
    )
    return der
  }

  /** A key serves one certificate. @throws CSR_INVALID */
  async #judgeKey(spki: string, within: Database): Promise<void> {
    const other = await within
      .selectFrom('certificates')
      .select('serial')
      .where('spki', '=', spki)
      .executeTakeFirst()
    if (other !== undefined || spki === this.#caPin)
      throw new PosternError(
        'CSR_INVALID',
        'its key has a certificate already; a new one is needed',
      )
  }
}

async function find(leafDer: Buffer, within: Database): Promise<CertificateRow | undefined> {
  const { serial, extensions } = readCertificate(leafDer)
  return await within
    .selectFrom('certificates')
    .selectAll()
    .where('issuer', '=', extensions.authorityKeyId?.keyId ?? '')
    .where('serial', '=', serial.toString('hex'))
    .executeTakeFirst()
}

function refused(text: string): PosternError {
  return new PosternError('RENEWAL_REFUSED', text)
}
