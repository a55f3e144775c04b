import type { Selectable } from 'kysely'
import { PosternError } from '../../base/errors.ts'
import type { EventRow as EventTable } from '../../store/schema.ts'
import type { StoreTools } from './store-tools.ts'

const COUNT_MAX = 10_000
const KIND = /^[a-z]+(\.[a-z]+|\.\*)?$/

/** An event as it stands in the record. */
export type EventRow = Selectable<EventTable>

/** Which events are wanted. */
export interface EventFilter {
  /** Text that the identity holds. */
  readonly identity?: string | undefined
  /** Such as certificate.revoked or token.*; none: every kind. */
  readonly kinds?: readonly string[] | undefined
}

/** The last events, oldest first, and the id of the newest event of all, shown or not. `sinceMs`: in wall-clock ms. @throws USAGE */
export async function lastEvents(
  { records }: StoreTools,
  filter: EventFilter,
  count: number,
  sinceMs?: number,
): Promise<{ readonly rows: readonly EventRow[]; readonly newestId: number }> {
  if (!Number.isInteger(count) || count < 1 || count > COUNT_MAX)
    throw new PosternError('USAGE', `--last must be from 1 to ${String(COUNT_MAX)}`)
  const query = selected(filter, records).orderBy('id', 'desc').limit(count)
  const newest = await records.database
    .selectFrom('events')
    .select('id')
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst()
  const found = await (sinceMs === undefined ? query : query.where('at', '>=', sinceMs)).execute()
  const rows = found.reverse()
  return { rows, newestId: Math.max(newest?.id ?? 0, rows.at(-1)?.id ?? 0) }
}

/** Events beyond an id, oldest first: they come in one order, so that what is beyond the last one is new. @throws USAGE */
export async function eventsAfter(
  { records }: StoreTools,
  filter: EventFilter,
  id: number,
): Promise<readonly EventRow[]> {
  const query = selected(filter, records).where('id', '>', id)
  return await query.orderBy('id').limit(COUNT_MAX).execute()
}

function selected({ identity, kinds = [] }: EventFilter, records: StoreTools['records']) {
  const bad = kinds.find((one) => !KIND.test(one))
  if (bad !== undefined)
    throw new PosternError('USAGE', `--kind ${bad} is not like certificate.revoked or token.*`)
  let query = records.database.selectFrom('events').selectAll()
  if (identity !== undefined) query = query.where('identity', 'like', `%${identity}%`)
  if (kinds.length === 0) return query
  return query.where((where) =>
    where.or(
      kinds.map((one) =>
        one.endsWith('.*')
          ? where('kind', 'like', `${one.slice(0, -1)}%`)
          : where('kind', '=', one),
      ),
    ),
  )
}
