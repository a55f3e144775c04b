import { countsOf } from '../../base/counts.ts'
import { PosternError } from '../../base/errors.ts'
import { spkiPin } from '../../identity/keys.ts'
import { identityUri, type Identity } from '../../identity/name.ts'
import { readCertificate } from '../../identity/validation/validation.ts'
import type { Database } from '../../store/records.ts'
import type { CertificateRow, CertificateState } from '../../store/schema.ts'

/** A certificate that was just issued, with its grounds. */
export interface Issued {
  readonly der: Buffer
  readonly identity: Identity
  readonly state: CertificateState
  /** Token, certificate or command that it was issued for. */
  readonly grant: string
  /** Of the certificate that it renews; default: the first of its own. */
  readonly lineage?: string | undefined
  readonly nowMs: number
}

/** Writes an issued certificate down; returns its serial in hex. */
export async function enterCertificate(issued: Issued, within: Database): Promise<string> {
  const { der, identity, state, grant, nowMs } = issued
  const facts = readCertificate(der)
  const serial = facts.serial.toString('hex')
  await within
    .insertInto('certificates')
    .values({
      issuer: facts.extensions.authorityKeyId?.keyId ?? '',
      serial,
      cluster: identity.role === 'agent' ? identity.cluster : '',
      agent: identity.role === 'agent' ? identity.agent : '',
      spki: spkiPin(facts.publicKey),
      not_before: facts.notBeforeMs,
      not_after: facts.notAfterMs,
      issued_at: nowMs,
      state,
      grant,
      der: der.toString('base64'),
      identity: identityUri(identity),
      lineage: issued.lineage ?? serial,
    })
    .execute()
  return serial
}

/** The row of a certificate that we issued: found by issuer and serial, and the same to the last byte of its key. */
export async function findCertificate(
  leafDer: Buffer,
  within: Database,
): Promise<CertificateRow | undefined> {
  const { serial, extensions, publicKey } = readCertificate(leafDer)
  const row = await within
    .selectFrom('certificates')
    .selectAll()
    .where('issuer', '=', extensions.authorityKeyId?.keyId ?? '')
    .where('serial', '=', serial.toString('hex'))
    .executeTakeFirst()
  return row?.spki === spkiPin(publicKey) ? row : undefined
}

/** The limits of a list of certificates: of whom, issued by which CA, and at what time. */
export interface CertificateFilter {
  readonly cluster?: string | undefined
  readonly agent?: string | undefined
  readonly issuer?: string | undefined
  /** Not expired at this time, and neither superseded. */
  readonly liveAtMs?: number | undefined
  /** Not expired at this time. */
  readonly expiresAfterMs?: number | undefined
}

/** All of a row but the certificate itself, of which there may be very many. */
const LISTED = [
  'issuer',
  'serial',
  'cluster',
  'agent',
  'spki',
  'not_before',
  'not_after',
  'issued_at',
  'state',
  'grant',
  'identity',
  'lineage',
] as const
/** A certificate as it stands in the store. */
export type ListedCertificate = Pick<CertificateRow, (typeof LISTED)[number]>

/** Lists certificates of the store, newest last. */
export async function listCertificates(
  { cluster, agent, issuer, liveAtMs, expiresAfterMs }: CertificateFilter,
  within: Database,
): Promise<ListedCertificate[]> {
  let query = within.selectFrom('certificates').select(LISTED).orderBy('issued_at')
  if (cluster !== undefined) query = query.where('cluster', '=', cluster)
  if (agent !== undefined) query = query.where('agent', '=', agent)
  if (issuer !== undefined) query = query.where('issuer', '=', issuer)
  if (liveAtMs !== undefined)
    query = query.where('not_after', '>', liveAtMs).where('state', '!=', 'superseded')
  if (expiresAfterMs !== undefined) query = query.where('not_after', '>', expiresAfterMs)
  return await query.execute()
}

/** The one certificate of a serial, or of an unambiguous beginning of one. @throws NOT_KNOWN */
export async function certificateOfSerial(
  prefix: string,
  within: Database,
): Promise<CertificateRow> {
  const rows = await within
    .selectFrom('certificates')
    .selectAll()
    .where('serial', '>=', prefix)
    .where('serial', '<', `${prefix}g`)
    .limit(2)
    .execute()
  const exact = rows.find(({ serial }) => serial === prefix)
  const found = exact ?? (rows.length === 1 ? rows[0] : undefined)
  if (found !== undefined) return found
  const why = rows.length === 0 ? 'no certificate has' : 'more than one certificate has'
  throw new PosternError('NOT_KNOWN', `${why} a serial that begins with ${prefix}`)
}

/** The agents' certificates that have not expired. */
export interface IssuedReport {
  /** How many are in each state. */
  readonly byState: ReadonlyMap<string, number>
  /** When the first of those in use ends, in wall-clock ms; undefined where there is none. */
  readonly firstEndMs: number | undefined
}

/** Counts the agents' certificates in the store. */
export async function reportIssued(within: Database, nowMs: number): Promise<IssuedReport> {
  const rows = await listCertificates({ expiresAfterMs: nowMs }, within)
  const agents = rows.filter(({ cluster }) => cluster !== '')
  const live = agents.filter(({ state }) => state !== 'superseded')
  return {
    byState: countsOf(agents.map(({ state }) => state)),
    firstEndMs: live.length === 0 ? undefined : Math.min(...live.map((row) => row.not_after)),
  }
}
