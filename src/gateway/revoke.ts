import type { Denials, Order } from './denials.ts'
import type { Database, Records } from './records/records.ts'

interface Named {
  readonly issuer: string
  readonly serial: string
}

/**
 * Denies a certificate, or every certificate of a key, together with all that was renewed from it:
 * whoever stole a key and renewed first holds nothing. Resolves to how many were denied with it.
 */
export async function revokeWithRenewals(
  { records, denials }: { readonly records: Records; readonly denials: Denials },
  what: { readonly certificate: Named } | { readonly key: string },
  order: Order,
): Promise<number> {
  let count = 0
  if ('certificate' in what) {
    const { issuer, serial } = what.certificate
    await denials.deny({ kind: 'certificate', issuer, serial }, order)
  } else await denials.deny({ kind: 'key', spki: what.key }, order)
  // After the denial is in force nothing more can be renewed from it.
  const seeds = await seedsOf(what, records.database)
  for (const { issuer, serial } of await renewedFrom(seeds, records.database)) {
    await denials.deny({ kind: 'certificate', issuer, serial }, order)
    count++
  }
  return count
}

async function seedsOf(
  what: { readonly certificate: Named } | { readonly key: string },
  within: Database,
): Promise<Named[]> {
  if ('certificate' in what) return [what.certificate]
  return await within
    .selectFrom('certificates')
    .select(['issuer', 'serial'])
    .where('spki', '=', what.key)
    .execute()
}

/** A renewal names the serial that it was granted for. */
async function renewedFrom(seeds: readonly Named[], within: Database): Promise<Named[]> {
  const found = new Map<string, Named>()
  let frontier = seeds.map(({ serial }) => serial)
  while (frontier.length > 0) {
    const rows = await within
      .selectFrom('certificates')
      .select(['issuer', 'serial'])
      .where('grant', 'in', frontier)
      .execute()
    const fresh = rows.filter(({ serial }) => !found.has(serial))
    for (const row of fresh) found.set(row.serial, row)
    frontier = fresh.map(({ serial }) => serial)
  }
  return [...found.values()]
}
