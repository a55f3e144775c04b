import { expect } from 'chai'
import { joinToken } from '../../src/identity/join-token.ts'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Denials } from '../../src/gateway/access/denials.ts'
import { Records } from '../../src/store/records.ts'
import { Pruner } from '../../src/gateway/access/retention.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { rejection } from '../support/code-of.ts'

const KEEP = { eventsKeepMs: 1, eventsMax: 1000, certificatesKeepMs: 1, clustersKeepMs: 1 }

/** What a peer cannot cause, or what is small by nature: the list of denials, CAs, bundles, and migrations. */
const SMALL =
  /"(denials|roles|authorities|bundles|revisions|kysely_migration|sqlite_master)"|pragma_table_info/

describe('what a peer can make the store do', function () {
  it('is found by an index, never by looking at every row', async () => {
    const seen = new Set<string>()
    const plane = await ControlPlane.start({}, (sql) => seen.add(sql))
    // The migrations are nobody's doing but ours.
    seen.clear()
    try {
      await plane.enroll('a-1')
      const agent = plane.startAgent('a-1')
      await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
      await agent.changes.renewal?.renewNow()
      await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
      await rejection(
        plane.enrollWith('x', joinToken('0123456789ab', Buffer.alloc(32))),
        'TOKEN_REFUSED',
      )
      await rejection(
        plane.enrollWith('x', (await plane.token({ ttlMs: -1 })).token),
        'TOKEN_REFUSED',
      )
      const records = await Records.open(join(plane.folder, 'cp/records.db'), (sql) =>
        seen.add(sql),
      )
      await new Denials(records).refresh()
      await new Pruner(records, KEEP).prune(Date.now() - 86_400_000)
      await records.close()
      expect(seen.size).to.be.greaterThan(15)
      expect(plansOf(join(plane.folder, 'cp/records.db'), [...seen])).to.deep.equal([])
    } finally {
      plane.stop()
    }
  })
})

/** Statements that read every row of a table that grows. */
function plansOf(path: string, statements: readonly string[]): string[] {
  const database = new DatabaseSync(path)
  const scans = statements
    .filter((sql) => /^(select|update|delete|insert)/.test(sql) && !SMALL.test(sql))
    .flatMap((sql) => {
      const count = sql.split('?').length - 1
      const rows = database
        .prepare(`explain query plan ${sql}`)
        .all(...Array.from({ length: count }, () => 1))
      return rows
        .map(({ detail }) => String(detail))
        .filter((detail) => detail.startsWith('SCAN') && !sql.includes(' limit ?'))
        .map((detail) => `${detail}: ${sql}`)
    })
  database.close()
  return scans
}
