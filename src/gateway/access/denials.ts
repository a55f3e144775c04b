import { PosternError } from '../../base/errors.ts'
import { spkiPin } from '../../identity/keys.ts'
import type { Identity } from '../../identity/name.ts'
import { readCertificate } from '../../identity/validation/validation.ts'
import type { Database, Records } from '../../store/records.ts'
import type { CertificateRow, DenialRow } from '../../store/schema.ts'

/** The parts of a certificate that a denial can refer to. */
export interface Credentials {
  /** Key identifier of the issuer, and serial, in hex. */
  readonly issuer: string
  readonly serial: string
  readonly spki: string
  readonly notBeforeMs: number
  readonly cluster: string
  readonly agent: string
  /** What it descends from, where our records say so. */
  readonly lineage?: string
}

/** Where a denial came from. */
export interface Order {
  readonly reason: string
  readonly actor: string
  readonly nowMs: number
}

/** The denial that a peer falls under. */
export type Denied = Pick<
  Partial<DenialRow>,
  'issuer' | 'serial' | 'spki' | 'cluster' | 'agent' | 'lineage'
> & { readonly kind: DenialRow['kind'] }

/** Reads them from a leaf whose chain was verified. */
export function credentialsOf(leafDer: Buffer, identity: Identity): Credentials {
  const facts = readCertificate(leafDer)
  const isAgent = identity.role === 'agent'
  return {
    issuer: facts.extensions.authorityKeyId?.keyId ?? '',
    serial: facts.serial.toString('hex'),
    spki: spkiPin(facts.publicKey),
    notBeforeMs: facts.notBeforeMs,
    cluster: isAgent ? identity.cluster : '',
    agent: isAgent ? identity.agent : '',
  }
}

/** The same of a certificate that we issued. */
export function credentialsOfRow(row: Omit<CertificateRow, 'der'>): Credentials {
  const { issuer, serial, spki, cluster, agent, lineage, not_before } = row
  return { issuer, serial, spki, cluster, agent, lineage, notBeforeMs: not_before }
}

/**
 * Who is let in no more. The whole list is held in memory and judged at every handshake, before
 * anything else of the peer; `refresh` takes over what a command has changed in the store.
 */
export class Denials {
  readonly #records: Records
  #revision = -1
  #rows: readonly DenialRow[] = []
  readonly #byCertificate = new Map<string, DenialRow>()
  readonly #byKey = new Map<string, DenialRow>()
  readonly #byLineage = new Map<string, DenialRow>()
  /** Of an agent, or with an empty agent of a whole cluster: the latest counts. */
  readonly #byName = new Map<string, DenialRow>()
  readonly #locks = new Map<string, DenialRow>()

  constructor(records: Records) {
    this.#records = records
  }

  /** Grows whenever the list has changed. */
  get revision(): number {
    return this.#revision
  }

  get rows(): readonly DenialRow[] {
    return this.#rows
  }

  /** Takes the list as it stands in the store; returns whether it has changed. */
  async refresh(within: Database = this.#records.database): Promise<boolean> {
    const revision = await this.#records.revision('denials', within)
    if (revision === this.#revision) return false
    const rows = await within
      .selectFrom('denials')
      .selectAll()
      .where('lifted_at', 'is', null)
      .orderBy('id')
      .execute()
    const descendants = await descendantsOf(within)
    this.#revision = revision
    this.#index(rows)
    for (const { issuer, serial, lineage } of descendants) {
      const row = this.#byLineage.get(lineage)
      if (row !== undefined) this.#byCertificate.set(`${issuer}:${serial}`, row)
    }
    return true
  }

  /** Why a certificate is refused, or undefined. */
  denialOf(of: Credentials): PosternError | undefined {
    const lock = this.#locks.get(of.cluster)
    if (lock !== undefined) return lockedError(lock)
    const row =
      this.#byCertificate.get(`${of.issuer}:${of.serial}`) ??
      this.#byKey.get(of.spki) ??
      this.#byLineage.get(of.lineage ?? '') ??
      this.#nameDenial(of)
    if (row === undefined) return undefined
    const what = { certificate: 'certificate', key: 'key', agent: 'agent', cluster: 'cluster' }
    const name = what[row.kind as keyof typeof what]
    return new PosternError('IDENTITY_REVOKED', `the ${name} was revoked: ${row.reason}`)
  }

  isLocked(cluster: string): boolean {
    return this.#locks.has(cluster)
  }

  /** Judges whether a cluster is locked. @throws CLUSTER_LOCKED */
  judgeLock(cluster: string): void {
    const lock = this.#locks.get(cluster)
    if (lock !== undefined) throw lockedError(lock)
  }

  hasKey(spki: string): boolean {
    return this.#byKey.has(spki)
  }

  /** When an agent, or its whole cluster, was last denied by name, in ms. */
  lastByName(cluster: string, agent: string): number | undefined {
    const times = [nameKey(cluster, agent), nameKey(cluster, '')].flatMap((key) => {
      const row = this.#byName.get(key)
      return row === undefined ? [] : [row.at]
    })
    return times.length === 0 ? undefined : Math.max(...times)
  }

  /** Denies in one row and one transaction: whatever is renewed from it comes before and falls with it, or is refused. */
  async deny(what: Denied, { reason, actor, nowMs }: Order): Promise<void> {
    const { issuer = null, serial = null, spki = null, cluster = null, agent = null } = what
    const { lineage = '' } = what
    const { database } = this.#records
    await database.transaction().execute(async (within) => {
      const row = {
        issuer,
        serial,
        spki,
        cluster,
        agent,
        reason,
        actor,
        at: nowMs,
        lifted_at: null,
        lineage,
      }
      await within
        .insertInto('denials')
        .values({ kind: what.kind, ...row })
        .execute()
      await this.#records.bump('denials', within)
      const kind = what.kind === 'lock' ? 'cluster.locked' : `${what.kind}.revoked`
      const detail = spki === null ? reason : `${spki}: ${reason}`
      const identity = agent === null ? cluster : `${cluster ?? ''}/${agent}`
      await this.#records.note({ at: nowMs, kind, actor, identity, serial, detail }, within)
    })
    await this.refresh()
  }

  /** Ends the lock of a cluster. @throws NOT_KNOWN when it is not locked */
  async unlock(cluster: string, { reason, actor, nowMs }: Order): Promise<void> {
    const { database } = this.#records
    await database.transaction().execute(async (within) => {
      const { numUpdatedRows } = await within
        .updateTable('denials')
        .set({ lifted_at: nowMs })
        .where('kind', '=', 'lock')
        .where('cluster', '=', cluster)
        .where('lifted_at', 'is', null)
        .executeTakeFirst()
      if (numUpdatedRows === 0n)
        throw new PosternError('NOT_KNOWN', `cluster ${cluster} is not locked`)
      await this.#records.bump('denials', within)
      const event = { at: nowMs, kind: 'cluster.unlocked', actor, identity: cluster }
      await this.#records.note({ ...event, detail: reason }, within)
    })
    await this.refresh()
  }

  /** What a denial by name says of a certificate: it holds for all that were issued up to it. */
  #nameDenial({ cluster, agent, notBeforeMs }: Credentials): DenialRow | undefined {
    return [nameKey(cluster, agent), nameKey(cluster, '')]
      .map((key) => this.#byName.get(key))
      .find((row) => row !== undefined && notBeforeMs <= wholeSecond(row.at))
  }

  #index(rows: readonly DenialRow[]): void {
    this.#rows = rows
    const indices = [this.#byCertificate, this.#byKey, this.#byLineage, this.#byName, this.#locks]
    for (const index of indices) index.clear()
    for (const row of rows) {
      const { kind, issuer, serial, spki, cluster, agent, lineage } = row
      if (lineage !== '') this.#byLineage.set(lineage, row)
      if (kind === 'certificate') this.#byCertificate.set(`${issuer ?? ''}:${serial ?? ''}`, row)
      else if (kind === 'key') this.#byKey.set(spki ?? '', row)
      else if (kind === 'lock') this.#locks.set(cluster ?? '', row)
      else this.#byName.set(nameKey(cluster ?? '', agent ?? ''), row)
    }
  }
}

/** Issuer and serial of every certificate whose line is denied: nothing of it can be issued any more. */
async function descendantsOf(within: Database) {
  return await within
    .selectFrom('denials')
    .innerJoin('certificates', 'certificates.lineage', 'denials.lineage')
    .select(['certificates.issuer', 'certificates.serial', 'certificates.lineage'])
    .where('denials.lifted_at', 'is', null)
    .where('denials.lineage', '!=', '')
    .execute()
}

/** Rounds a time down to whole seconds, as certificates tell it: what was issued in the same second is denied too. */
export function wholeSecond(ms: number): number {
  return Math.floor(ms / 1000) * 1000
}

function lockedError({ cluster, reason }: DenialRow): PosternError {
  return new PosternError('CLUSTER_LOCKED', `cluster ${cluster ?? ''} is locked: ${reason}`)
}

function nameKey(cluster: string, agent: string): string {
  return `${cluster}/${agent}`
}
