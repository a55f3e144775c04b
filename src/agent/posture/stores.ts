import type { Clock } from '../../base/clock.ts'
import { asPosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { about, seen, type Finding } from '../../base/finding.ts'
import { storePosture } from '../../dataplane/objects/objects.ts'
import type { StoreRow } from '../../dataplane/store-row.ts'

/** Asks each object store how it keeps what is in it, with the customer's own credentials. */
export async function storeFindings(
  rows: readonly StoreRow[],
  ports: { readonly clock: Clock; readonly random: Random },
  signal: AbortSignal,
): Promise<Finding[]> {
  const found = await Promise.all(
    rows.map(async (row) => {
      try {
        const list = await storePosture(row, ports, signal)
        return about('object store', row.name, list)
      } catch (error) {
        const why = asPosternError(error).rawMessage
        return about('object store', row.name, [seen('encryption at rest', 'UNKNOWN', why)])
      }
    }),
  )
  return found.flat()
}
