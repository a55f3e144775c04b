import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { EventLog } from '../../src/gateway/access/event-log.ts'
import { Records } from '../../src/store/records.ts'
import { Pruner } from '../../src/gateway/access/retention.ts'
import { Tokens } from '../../src/gateway/ca/tokens.ts'
import { rejection } from '../support/code-of.ts'

const DAY_MS = 86_400_000

describe('the store', function () {
  let folder: string
  let path: string
  let records: Records
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-store-'))
    path = join(folder, 'records.db')
    records = await Records.open(path)
  })
  afterEach(async () => {
    await records.close()
    rmSync(folder, { recursive: true })
  })

  const event = (at: number, detail = 'x') => ({ at, kind: 'test', actor: 'somebody', detail })
  const countEvents = async (): Promise<number> =>
    (await records.database.selectFrom('events').select('id').execute()).length

  it('holds up no timer, however long a query takes', async () => {
    const slow = records.database.executeQuery({
      sql: 'with recursive n(i) as (select 1 union all select i + 1 from n where i < 6000000) select max(i) as m from n',
      parameters: [],
      query: { kind: 'RawNode' } as never,
      queryId: { queryId: 'slow' },
    })
    let turns = 0
    const state = { isDone: false }
    void slow.finally(() => (state.isDone = true))
    // Counted, not timed: were the query run here, no turn of the loop would come before it is done.
    while (!state.isDone && turns < 1000) {
      turns++
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect((await slow).rows).to.deep.equal([{ m: 6_000_000 }])
    expect(turns).to.be.greaterThan(5)
  })

  it('takes many rows in over many turns of the loop', async () => {
    await records.database.transaction().execute(async (within) => {
      for (let i = 0; i < 3000; i++) await records.note(event(i), within)
    })
    expect(await countEvents()).to.equal(3000)
  })

  it('cuts and cleans what strangers wrote', async () => {
    const text = `\u202e${'x'.repeat(5000)}\n`
    await records.note({ ...event(1, text), actor: text, identity: text, address: text })
    const [row] = await records.database.selectFrom('events').selectAll().execute()
    expect([row?.actor.length, row?.identity?.length, row?.address?.length, row?.detail?.length])
      // And one mark of the cut.
      .to.deep.equal([256, 256, 64, 1001])
    expect(row?.detail).to.match(/^\?x+…$/)
  })

  it('lets go of old events, of more than it keeps, and of certificates long after their end', async () => {
    const nowMs = 1000 * DAY_MS
    for (let i = 0; i < 30; i++) await records.note(event(nowMs - i * DAY_MS))
    for (const [serial, end] of [
      ['aa', nowMs - 100 * DAY_MS],
      ['bb', nowMs - DAY_MS],
    ] as const)
      await records.database
        .insertInto('certificates')
        .values({
          ...{ issuer: 'i', serial, lineage: serial, cluster: 'c', agent: 'a', spki: serial },
          ...{ not_before: 0, not_after: end, issued_at: 0, state: 'current', grant: 'g' },
          ...{ der: '', identity: '' },
        })
        .execute()
    const keep = {
      eventsKeepMs: 20 * DAY_MS,
      eventsMax: 1000,
      certificatesKeepMs: 90 * DAY_MS,
      clustersKeepMs: 90 * DAY_MS,
    }
    expect(await new Pruner(records, keep).prune(nowMs)).to.equal(1 + 9)
    expect(await countEvents()).to.equal(21)
    const few = new Pruner(records, { ...keep, eventsKeepMs: 1000 * DAY_MS, eventsMax: 5 })
    await few.prune(nowMs)
    expect(await countEvents()).to.equal(5)
    // Once an hour.
    await records.note(event(0))
    expect(await few.prune(nowMs + 1)).to.equal(0)
    const left = await records.database.selectFrom('certificates').select('serial').execute()
    expect(left).to.deep.equal([{ serial: 'bb' }])
  })

  it('writes down little of one network or identity, and something of every other', async () => {
    const log = new EventLog(records, { clock: systemClock, logger: silentLogger })
    for (let i = 0; i < 500; i++) log.note({ ...event(i), address: '203.0.113.1:5' })
    for (let i = 0; i < 500; i++) log.note({ ...event(i), identity: 'spiffe://a' })
    for (let i = 0; i < 10; i++) log.note({ ...event(i), address: `198.51.100.${String(i)}` })
    // One connection: this comes behind them.
    await records.note(event(0))
    expect(await countEvents()).to.equal(20 + 20 + 10 + 1)
  })

  it('tells a full disk by its name, undoes all, and goes on when there is room', async () => {
    const tokens = new Tokens(records, systemRandom)
    const request = { cluster: 'c', agent: undefined, uses: 1, ttlMs: 1000, actor: 'test' }
    await tokens.create(request, 1)
    const limit = async (pages: number): Promise<void> => {
      await records.database.executeQuery({
        sql: `pragma max_page_count = ${String(pages)}`,
        parameters: [],
        query: { kind: 'RawNode' } as never,
        queryId: { queryId: 'limit' },
      })
    }
    await limit(1)
    const full = async (): Promise<void> => {
      for (let i = 0; i < 500; i++) await tokens.create(request, i)
    }
    const error = await rejection(full(), 'RECORDS_UNUSABLE')
    expect(error.message).to.include('the disk is full').and.not.include('rollback')
    const rows = await tokens.list()
    // A token and its event are one transaction.
    expect(await countEvents()).to.equal(rows.length)
    await limit(1_000_000)
    await tokens.create(request, 9)
    expect(await tokens.list()).to.have.length(rows.length + 1)
  })

  it('waits for another process that writes, and then says so: nothing ends in silence', async () => {
    const other = new DatabaseSync(path)
    other.exec('begin immediate')
    const run = (): { status: number; text: string } => {
      const store = new URL('../../src/store/records.ts', import.meta.url).href
      const script = `
        import { Records } from ${JSON.stringify(store)}
        const records = await Records.open(${JSON.stringify(path)})
        await records.note({ at: 1, kind: 'late', actor: 'child' })
        await records.close()
        process.stdout.write('written')`
      const args = ['--input-type=module', '-e', script]
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
      return { status: status ?? -1, text: stdout + stderr }
    }
    const held = run()
    expect(held.status).to.equal(1)
    expect(held.text).to.include('another process holds its lock')
    other.exec('rollback')
    other.close()
    expect(run()).to.deep.equal({ status: 0, text: 'written' })
    expect(await countEvents()).to.equal(1)
  })
})
