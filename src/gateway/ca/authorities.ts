import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import type { Authority } from '../../identity/authority.ts'
import { readAuthority } from '../../identity/authority-files.ts'
import { certificatesIn, readCertificateFile } from '../../identity/certificate-files.ts'
import type { KeyProtection } from '../../identity/key-protection.ts'
import { spkiPin } from '../../identity/keys.ts'
import { readOwnBundle } from '../../identity/trust-bundle.ts'
import { isSelfIssued } from '../../identity/validation/validation.ts'
import type { Records } from '../../store/records.ts'
import type { AuthorityRow } from '../../store/schema.ts'

/** The values and collaborators that Authorities is given. */
export interface AuthoritiesPorts {
  readonly records: Records
  /** ca.directory. */
  readonly directory: string
  /** How the keys of the CAs are encrypted. */
  readonly protection: KeyProtection
  readonly trustDomain: string
  /** The roots as they were before the first change of CA, in PEM. */
  readonly initialBundlePem: string
}

/** A generation of CAs with the keys to issue by. */
export interface IssuingPair {
  readonly row: AuthorityRow
  readonly agents: Authority
  readonly gateways: Authority
  /** The issuing CA of gateways under the root before, while that is trusted; in DER. */
  readonly cross: Buffer | undefined
}

/** The CAs as the store says that they stand. A change of CA by a command is taken over by `refresh`. */
export class Authorities {
  readonly parts: AuthoritiesPorts
  #protection: KeyProtection
  #revision = -1
  #rows: readonly AuthorityRow[] = []
  #active: IssuingPair | undefined
  readonly #pairs = new Map<string, IssuingPair>()
  #bundle = { version: 0, pem: '' }

  constructor(parts: AuthoritiesPorts) {
    this.parts = parts
    this.#protection = parts.protection
    this.#bundle = { version: 0, pem: parts.initialBundlePem }
  }

  get protection(): KeyProtection {
    return this.#protection
  }

  /** Keys are read and written with this from now on. */
  use(protection: KeyProtection): void {
    this.#protection = protection
  }

  /** Issues now. Asked for after the first refresh. */
  get active(): IssuingPair {
    if (this.#active === undefined)
      throw new PosternError('RECORDS_UNUSABLE', 'the store names no active CA')
    return this.#active
  }

  /** Of the store, when it was last looked at. */
  get revision(): number {
    return this.#revision
  }

  /** Every generation that is trusted, the active one first. */
  get trusted(): readonly IssuingPair[] {
    const others = this.#rows.filter(({ phase }) => phase === 'previous' || phase === 'prepared')
    return [this.active, ...others.map((row) => this.read(row))]
  }

  get rows(): readonly AuthorityRow[] {
    return this.#rows
  }

  /** The roots to trust, in PEM, and the version of the signed bundle that they came in. */
  get bundle(): { readonly version: number; readonly pem: string } {
    return this.#bundle
  }

  get previous(): AuthorityRow | undefined {
    return this.#rows.find(({ phase }) => phase === 'previous')
  }

  /** Key identifier of the CA that agents should hold no certificate of any more. */
  isOutgoing(issuer: string): boolean {
    return this.#rows.some(
      ({ agents_key, phase }) =>
        agents_key === issuer && (phase === 'previous' || phase === 'prepared'),
    )
  }

  isRetired(issuer: string): boolean {
    return this.#rows.some(
      ({ agents_key, phase }) =>
        agents_key === issuer && (phase === 'retired' || phase === 'abandoned'),
    )
  }

  /** Takes the CAs as they stand; returns whether anything has changed. @throws what readAuthority throws */
  async refresh(): Promise<boolean> {
    const { records } = this.parts
    const revision = await records.revision('ca')
    if (revision === this.#revision) return false
    await this.#enterFirst()
    const rows = await records.database
      .selectFrom('authorities')
      .selectAll()
      .orderBy('id')
      .execute()
    const row = rows.find(({ phase }) => phase === 'active')
    if (row === undefined) throw new PosternError('RECORDS_UNUSABLE', 'no CA is active')
    const [active, bundle] = [this.read(row), await this.#currentBundle()]
    this.#rows = rows
    this.#active = active
    this.#bundle = bundle
    this.#revision = revision
    return true
  }

  /** The CAs of a row with their keys; read once. @throws what readAuthority throws */
  read(row: AuthorityRow): IssuingPair {
    const known = this.#pairs.get(row.folder)
    const pair = known === undefined ? this.#readPair(row) : { ...known, row }
    this.#pairs.set(row.folder, pair)
    return pair
  }

  #readPair(row: AuthorityRow): IssuingPair {
    const folder = join(this.parts.directory, row.folder)
    const protection = this.#protection
    const crossFile = join(folder, 'gateways-cross.pem')
    const cross = existsSync(crossFile)
      ? readCertificateFile(crossFile).certificates[0]?.der
      : undefined
    return {
      row,
      agents: readAuthority(folder, 'agents', protection),
      gateways: readAuthority(folder, 'gateways', protection),
      cross,
    }
  }

  /** Every bundle that was in force after `version`, oldest first, encoded. */
  async bundlesSince(version: number, countMax: number): Promise<Buffer[]> {
    const rows = await this.parts.records.database
      .selectFrom('bundles')
      .select('signed')
      .where('version', '>', version)
      .where('state', '!=', 'ahead')
      .orderBy('version')
      .limit(countMax)
      .execute()
    return rows.map(({ signed }) => Buffer.from(signed, 'base64'))
  }

  /** What a gateway sends behind its leaf, so that who trusts the old root alone can verify it too. */
  get servedChain(): readonly Buffer[] {
    const { gateways, cross } = this.active
    return [this.previous !== undefined && cross !== undefined ? cross : gateways.der]
  }

  async #currentBundle(): Promise<{ version: number; pem: string }> {
    const { records, trustDomain, initialBundlePem } = this.parts
    const row = await records.database
      .selectFrom('bundles')
      .select(['version', 'signed'])
      .where('state', '=', 'current')
      .executeTakeFirst()
    if (row === undefined) return { version: 0, pem: initialBundlePem }
    // Our own store: read for its content, whoever signed it.
    const signed = Buffer.from(row.signed, 'base64')
    const { pem } = readOwnBundle(signed, trustDomain)
    return { version: row.version, pem }
  }

  /** A store that knows of no CA yet is given the one that gateway init made. */
  async #enterFirst(): Promise<void> {
    const { records, directory, initialBundlePem } = this.parts
    const { database } = records
    const { length } = await database.selectFrom('authorities').select('id').limit(1).execute()
    if (length > 0) return
    const later = readdirSync(directory).find((name) => name.startsWith('generation-'))
    if (later !== undefined) {
      const text = `the store names no CA, and ${directory} holds ${later}: this is not the store of these CAs. Restore it: docs/OPERATIONS.md, "Restore"`
      throw new PosternError('RECORDS_UNUSABLE', text, { path: directory })
    }
    const agents = readAuthority(directory, 'agents', this.#protection)
    const first = rootPinOf(initialBundlePem)
    const row = { id: 1, folder: '', phase: 'active', root_pin: first, at: 0 } as const
    await database
      .insertInto('authorities')
      .values({ ...row, agents_key: agents.keyId })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  }
}

function rootPinOf(bundlePem: string): string {
  const root = certificatesIn(bundlePem).find(isSelfIssued)
  return root === undefined ? '' : spkiPin(root.publicKey)
}
