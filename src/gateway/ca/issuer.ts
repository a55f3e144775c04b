import { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { USAGE_CLIENT } from '../../identity/authority.ts'
import type { SigningRequest } from '../../identity/csr.ts'
import { spkiPin } from '../../identity/keys.ts'
import { identityUri, parseIdentity, type Identity } from '../../identity/name.ts'
import type { Authorities } from './authorities.ts'
import { BACKDATE_MS } from '../../identity/schedule.ts'
import { enterCertificate, findCertificate } from './certificate-book.ts'
import { credentialsOfRow, wholeSecond, type Denials, KeyedRate } from '../access/access.ts'
import type { JwtJoin } from './jwt-join.ts'
import type { Database, Records } from '../../store/records.ts'
import type { CertificateRow } from '../../store/schema.ts'
import type { Tokens } from './tokens.ts'

/** The same question within this time gets the same answer, so that a lost reply costs nothing. */
const REPEAT_MS = 10 * 60_000
const NAME_BYTES = 4

type AgentIdentity = Extract<Identity, { role: 'agent' }>

/** Longest common name (RFC 5280, appendix A, ub-common-name). */
const COMMON_NAME_CHARS_MAX = 64

/** The values and collaborators that Issuer is given. */
export interface IssuerPorts {
  readonly authorities: Authorities
  readonly trustDomain: string
  readonly leafLifetimeMs: number
  /** How long past its end a certificate may still be renewed; 0: not at all. */
  readonly expiredGraceMs: number
  readonly records: Records
  readonly denials: Denials
  readonly tokens: Tokens
  readonly jwtJoin: JwtJoin
  readonly random: Random
}

/** Who asks, from where, and when. */
export interface Asker {
  readonly address: string
  readonly nowMs: number
}

/** The grounds for issuing a certificate. Every path that issues one ends in #issue, which requires a Grant. */
interface Grant {
  readonly identity: Identity
  /** Token, workload token or certificate. */
  readonly name: string
  /** For the records: who asked, in words. */
  readonly actor: string
  readonly lifetimeMs: number
  /** When a token was made: one from before its agent was denied lets it in no more. */
  readonly madeAtMs?: number
  /** The certificate that is renewed. */
  readonly holder?: CertificateRow
}

/** The one place where agents' and callers' certificates are made. */
export class Issuer {
  readonly #ports: IssuerPorts
  readonly #tokenRate = new KeyedRate()

  constructor(ports: IssuerPorts) {
    this.#ports = ports
  }

  /** Takes other rows of `enroll.jwt`. */
  useJwtRows(rows: Parameters<JwtJoin['use']>[0]): void {
    this.#ports.jwtJoin.use(rows)
  }

  /**
   * Issuing CAs in DER: what stands between our leaves and a root, the active one first. All that are
   * trusted, as another may take over between a question and its answer.
   */
  get chain(): readonly Buffer[] {
    return this.#ports.authorities.trusted.map(({ agents }) => agents.der)
  }

  /** Of the certificate that was issued last. */
  get activeChain(): readonly Buffer[] {
    return [this.#ports.authorities.active.agents.der]
  }

  /**
   * A first certificate, for a join token or a workload's own. The request is read only once the token
   * is known: strangers reach no parser. @throws TOKEN_REFUSED, FLOOD, CSR_INVALID, CLUSTER_LOCKED
   */
  async enroll(token: string, read: () => Promise<SigningRequest>, asker: Asker): Promise<Buffer> {
    const { jwtJoin, leafLifetimeMs: lifetimeMs } = this.#ports
    if (jwtJoin.isWorkloadToken(token)) {
      const { cluster, agent, name, actor, madeAtMs } = await jwtJoin.judge(token, asker.nowMs)
      const identity = this.#identity(cluster, agent ?? this.#newName())
      const grant = { identity, name, actor, lifetimeMs, madeAtMs }
      return await this.#once(grant, await read(), asker)
    }
    const row = await this.#ports.tokens.find(token)
    if (!this.#tokenRate.spend(row.id, asker.nowMs))
      throw new PosternError('FLOOD', 'too many requests with this token')
    const identity = this.#identity(row.cluster, row.agent ?? this.#newName())
    const actor = `token ${row.id}`
    const grant = { identity, name: row.id, actor, lifetimeMs, madeAtMs: row.created_at }
    const certificate = await this.#once(grant, await read(), asker, (within) =>
      this.#ports.tokens.use(row, asker.nowMs, within),
    )
    // A fleet that comes with one token is held up by its uses, not by its number.
    this.#tokenRate.give(row.id)
    return certificate
  }

  /**
   * The next certificate of an agent or caller, for the one that it showed in the handshake.
   * @throws RENEWAL_REFUSED, CSR_INVALID, IDENTITY_REVOKED, CLUSTER_LOCKED, CERT_SUPERSEDED
   */
  async renew(leafDer: Buffer, request: SigningRequest, asker: Asker): Promise<Buffer> {
    const row = await this.judged(leafDer)
    const spki = spkiPin(request.publicKeyDer)
    if (row.spki === spki) throw refused('a renewal needs a new key')
    const identity =
      row.cluster === '' ? parseIdentity(row.identity) : this.#identity(row.cluster, row.agent)
    const actor = identityUri(identity)
    // A caller's next certificate lasts as long as the one before it was made for.
    const lifetimeMs =
      identity.role === 'caller' ? row.not_after - row.issued_at : this.#ports.leafLifetimeMs
    const grant = { identity, name: row.serial, actor, lifetimeMs, holder: row }
    return await this.#once(grant, request, asker)
  }

  /**
   * The same for a certificate that has expired, whose key the asker has proven to hold.
   * @throws what renew throws, CERT_EXPIRED past the grace
   */
  async recover(leafDer: Buffer, request: SigningRequest, asker: Asker): Promise<Buffer> {
    const row = await this.judged(leafDer)
    const { expiredGraceMs } = this.#ports
    if (asker.nowMs > row.not_after + expiredGraceMs) {
      const ended = new Date(row.not_after).toISOString()
      const text = `it ended on ${ended}, which is longer ago than the grace; a new join token is needed`
      throw new PosternError('CERT_EXPIRED', text)
    }
    return await this.renew(leafDer, request, asker)
  }

  /**
   * The row of a certificate that may be renewed, as far as everything but time goes.
   * @throws RENEWAL_REFUSED, IDENTITY_REVOKED, CLUSTER_LOCKED, CERT_SUPERSEDED
   */
  async judged(leafDer: Buffer): Promise<CertificateRow> {
    const { records, denials } = this.#ports
    const row = await findCertificate(leafDer, records.database)
    if (row === undefined) throw refused('the certificate was not issued here')
    const denial = denials.denialOf(credentialsOfRow(row))
    if (denial !== undefined) throw denial
    if (row.state === 'superseded')
      throw new PosternError('CERT_SUPERSEDED', 'a later certificate of the agent is in use')
    return row
  }

  /** A certificate for a control-plane service. @throws CSR_INVALID */
  async issueCaller(
    { caller, region }: { readonly caller: string; readonly region?: string | undefined },
    request: SigningRequest,
    { actor, lifetimeMs, nowMs }: { actor: string; lifetimeMs: number; nowMs: number },
  ): Promise<Buffer> {
    const { trustDomain } = this.#ports
    const placed = region === undefined ? {} : { region }
    const identity = { role: 'caller', trustDomain, caller, ...placed } as const
    const grant = {
      identity,
      name: `caller ${caller}`.slice(0, COMMON_NAME_CHARS_MAX),
      actor,
      lifetimeMs,
    }
    return await this.#once(grant, request, { address: 'local', nowMs })
  }

  /**
   * Takes note that a certificate was used for a tunnel: a pending one becomes the agent's current
   * one, and those before it are superseded. Returns the state that it had.
   */
  async used(leafDer: Buffer, nowMs: number): Promise<CertificateRow['state'] | 'unknown'> {
    const { records } = this.#ports
    return await records.database.transaction().execute(async (within) => {
      const row = await findCertificate(leafDer, within)
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
    return { role: 'agent', trustDomain: this.#ports.trustDomain, cluster, agent }
  }

  #newName(): string {
    return `agent-${this.#ports.random.hex(NAME_BYTES)}`
  }

  /** Issues in one transaction, or gives again what was answered to the same question shortly before. */
  async #once(
    grant: Grant,
    request: SigningRequest,
    asker: Asker,
    useUp: (within: Database) => Promise<void> = () => Promise.resolve(),
  ): Promise<Buffer> {
    const { records } = this.#ports
    const spki = spkiPin(request.publicKeyDer)
    return await records.database.transaction().execute(async (within) => {
      await this.#judgeGrant(grant, within)
      const earlier = await within
        .selectFrom('certificates')
        .select('der')
        .where('grant', '=', grant.name)
        .where('spki', '=', spki)
        .where('issued_at', '>', asker.nowMs - REPEAT_MS)
        .executeTakeFirst()
      if (earlier !== undefined) return Buffer.from(earlier.der, 'base64')
      await useUp(within)
      await this.#judgeKey(spki, within)
      return await this.#issue(grant, request, asker, within)
    })
  }

  async #issue(
    { identity, name, actor, lifetimeMs, holder }: Grant,
    { publicKey }: SigningRequest,
    { address, nowMs }: Asker,
    within: Database,
  ): Promise<Buffer> {
    const { authorities, records, denials } = this.#ports
    const isAgent = identity.role === 'agent'
    const lastDenialMs = isAgent ? denials.lastByName(identity.cluster, identity.agent) : undefined
    // A denial by name holds for what was issued up to it, which the certificate's own time tells.
    const fromMs = Math.max(nowMs - BACKDATE_MS, wholeSecond(lastDenialMs ?? 0) + 1000)
    const certificate = await authorities.active.agents.issue(publicKey, {
      commonName: isAgent
        ? `agent ${identity.agent} of ${identity.cluster}`
        : identity.role === 'caller'
          ? `caller ${identity.caller}`.slice(0, COMMON_NAME_CHARS_MAX)
          : name,
      uris: [identityUri(identity)],
      usage: [USAGE_CLIENT],
      notBefore: new Date(fromMs),
      notAfter: new Date(nowMs + lifetimeMs),
    })
    const der = Buffer.from(certificate.rawData)
    const state = isAgent ? ('pending' as const) : ('current' as const)
    const entry = { der, identity, state, grant: name, lineage: holder?.lineage, nowMs }
    const serial = await enterCertificate(entry, within)
    const uri = identityUri(identity)
    const event = { at: nowMs, kind: 'certificate.issued', actor, identity: uri, serial, address }
    await records.note(event, within)
    return der
  }

  /**
   * What every way to a certificate asks, by the list of denials as it is within this transaction: a
   * revocation comes before it and is seen, or after it and sees what it issued.
   * @throws CLUSTER_LOCKED, IDENTITY_REVOKED, TOKEN_REFUSED
   */
  async #judgeGrant({ identity, holder, madeAtMs }: Grant, within: Database): Promise<void> {
    const { denials } = this.#ports
    await denials.refresh(within)
    const denial = holder === undefined ? undefined : denials.denialOf(credentialsOfRow(holder))
    if (denial !== undefined) throw denial
    if (identity.role !== 'agent') return
    const { cluster, agent } = identity
    denials.judgeLock(cluster)
    const deniedAtMs = denials.lastByName(cluster, agent)
    if (madeAtMs !== undefined && deniedAtMs !== undefined && madeAtMs <= deniedAtMs)
      throw new PosternError('TOKEN_REFUSED', `it was made before ${cluster}/${agent} was revoked`)
  }

  /** A key serves one certificate. @throws CSR_INVALID */
  async #judgeKey(spki: string, within: Database): Promise<void> {
    const { authorities, denials } = this.#ports
    const other = await within
      .selectFrom('certificates')
      .select('serial')
      .where('spki', '=', spki)
      .executeTakeFirst()
    const { agents, gateways } = authorities.active
    if (
      other === undefined &&
      spki !== agents.pin &&
      spki !== gateways.pin &&
      !denials.hasKey(spki)
    )
      return
    throw new PosternError('CSR_INVALID', 'its key has a certificate already; a new one is needed')
  }
}

function refused(text: string): PosternError {
  return new PosternError('RENEWAL_REFUSED', text)
}
