import type { Denials, Order } from './denials.ts'
import type { Database, Records } from '../../store/records.ts'
import type { CertificateRow } from '../../store/schema.ts'

type Named = Pick<CertificateRow, 'issuer' | 'serial' | 'lineage'>

/**
 * Denies a certificate, or every certificate of a key, together with all that descends from the same first
 * certificate by renewals: whoever stole a key and renews faster than we revoke holds nothing. Resolves to
 * how many others fell with it.
 */
export async function revokeWithRenewals(
  { records, denials }: { readonly records: Records; readonly denials: Denials },
  what: { readonly certificate: Named } | { readonly key: string },
  order: Order,
): Promise<number> {
  const { database } = records
  if ('certificate' in what) {
    const { issuer, serial, lineage } = what.certificate
    await denials.deny({ kind: 'certificate', issuer, serial, lineage }, order)
    return await othersOf(lineage, serial, database)
  }
  const row = await database
    .selectFrom('certificates')
    .select(['serial', 'lineage'])
    .where('spki', '=', what.key)
    .executeTakeFirst()
  await denials.deny({ kind: 'key', spki: what.key, lineage: row?.lineage ?? '' }, order)
  return row === undefined ? 0 : await othersOf(row.lineage, row.serial, database)
}

async function othersOf(lineage: string, serial: string, within: Database): Promise<number> {
  const { count } = await within
    .selectFrom('certificates')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('lineage', '=', lineage)
    .where('serial', '!=', serial)
    .executeTakeFirstOrThrow()
  return count
}
