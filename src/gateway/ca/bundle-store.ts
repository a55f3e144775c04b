import { PosternError } from '../../base/errors.ts'
import type { Database, Records } from '../../store/records.ts'
import type { BundleContentKind } from '../../store/schema.ts'

/** A trust bundle that was signed for a later step of a change. */
export interface AheadBundle {
  readonly version: number
  readonly content: BundleContentKind
  readonly signed: Buffer
}

/** Trust bundles: those that were in force, the one that is, and those signed ahead for later steps. */
export class BundleStore {
  readonly #records: Records

  constructor(records: Records) {
    this.#records = records
  }

  async lastVersion(within: Database = this.#records.database): Promise<number> {
    const row = await within
      .selectFrom('bundles')
      .select(({ fn }) => fn.max('version').as('version'))
      .executeTakeFirst()
    return row?.version ?? 0
  }

  /** What the bundle in force holds; undefined before the first change of CA. */
  async currentContent(): Promise<BundleContentKind | undefined> {
    const row = await this.#records.database
      .selectFrom('bundles')
      .select('content')
      .where('state', '=', 'current')
      .executeTakeFirst()
    return row?.content
  }

  /** Puts the bundles of a new change in place of those that an earlier one left unused. */
  async replaceAhead(bundles: readonly AheadBundle[], within: Database): Promise<void> {
    await within.deleteFrom('bundles').where('state', '=', 'ahead').execute()
    for (const { version, content, signed } of bundles)
      await within
        .insertInto('bundles')
        .values({ version, content, state: 'ahead', signed: signed.toString('base64') })
        .execute()
  }

  /** The next bundle of that content becomes the current one. @throws CA_STEP_REFUSED */
  async advance(content: BundleContentKind, within: Database): Promise<void> {
    const current = await within
      .selectFrom('bundles')
      .select('version')
      .where('state', '=', 'current')
      .executeTakeFirst()
    const next = await within
      .selectFrom('bundles')
      .select('version')
      .where('state', '=', 'ahead')
      .where('content', '=', content)
      .where('version', '>', current?.version ?? 0)
      .orderBy('version')
      .executeTakeFirst()
    if (next === undefined) {
      const text = 'no bundle is left that was signed ahead for this step: go on, or prepare anew'
      throw new PosternError('CA_STEP_REFUSED', text)
    }
    await within
      .updateTable('bundles')
      .set({ state: 'past' })
      .where('state', '=', 'current')
      .execute()
    await within
      .updateTable('bundles')
      .set({ state: 'current' })
      .where('version', '=', next.version)
      .execute()
  }
}
