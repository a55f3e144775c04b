import { expect } from 'chai'
import fc from 'fast-check'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Metrics, type Client } from '../../src/client.ts'
import { agentPosture } from '../../src/agent/posture/posture.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { ClickhouseServer } from '../support/clickhouse-server.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { Stack } from '../support/stack.ts'

const QUERIES = [
  {
    name: 'by-run',
    sql: 'SELECT run, cpu, at, note FROM runs WHERE run = {run:String} ORDER BY at',
  },
  {
    name: 'since',
    sql: 'SELECT count() AS n, sum(cpu) AS total FROM runs WHERE at >= {since:DateTime} AND cpu > {least:Float64}',
  },
  { name: 'large', sql: 'SELECT toUInt64(18446744073709551615) AS n, -5 AS m' },
  { name: 'all', sql: 'SELECT number FROM numbers(100)' },
  { name: 'broken', sql: 'SELECT nothing FROM nowhere' },
  { name: 'sleepy', sql: 'SELECT 1 AS sleepy' },
  { name: 'echo', sql: 'SELECT {text:String} AS text' },
]

describe('queries of ClickHouse', function () {
  let stack: Stack
  let server: ClickhouseServer
  let metrics: Client<typeof Metrics>
  before(async () => {
    server = await ClickhouseServer.start()
    stack = await Stack.start()
    const passwordFile = join(stack.pki.folder, 'clickhouse-password')
    writeFileSync(passwordFile, 'clickhouse-password\n', { mode: 0o600 })
    const wrong = join(stack.pki.folder, 'wrong-password')
    writeFileSync(wrong, 'x', { mode: 0o600 })
    const row = {
      url: server.url,
      user: 'reader',
      database: 'usage',
      queries: QUERIES,
      rowsMax: 50,
    }
    const rows = [
      { name: 'usage', ...row, passwordFile },
      { name: 'locked', ...row, passwordFile: wrong },
      { name: 'strict', ...row, user: 'strict', settings: 'of-profile', passwordFile },
    ]
    await stack.startAgent({ clickhouse: JSON.stringify(rows) })
    metrics = (await stack.connect()).cluster('c-1').service(Metrics)
  })
  after(() => {
    stack.stop()
    server.stop()
  })
  const select = async (query: string, parameters: Record<string, string> = {}) => {
    const { columns, rows } = await metrics.select({ source: 'usage', query, parameters })
    return {
      columns: columns.map(({ type }) => type),
      rows: rows.map(({ cells }) => cells.map(({ text }) => text)),
    }
  }
  const reasonOf = async (promise: Promise<unknown>): Promise<string> =>
    await promise.then(() => 'it passed', reasonOfError)

  it('run under a profile that takes no settings, and are bounded all the same', async () => {
    const strict = (query: string) => metrics.select({ source: 'strict', query, parameters: {} })
    const { rows } = await strict('large')
    expect(rows[0]?.cells.map(({ text }) => text)).to.deep.equal(['18446744073709551615', '-5'])
    const refused = await strict('all').then(() => 'it passed', reasonOfError)
    expect(refused).to.include('QUERY_REFUSED')
  })

  it('answer by name, with values that ClickHouse itself puts in', async () => {
    const { columns, rows } = await select('by-run', { run: 'r-1' })
    expect(columns).to.deep.equal(['String', 'Float64', 'DateTime', 'Nullable(String)'])
    expect(rows).to.deep.equal([['r-1', '1.5', '2026-01-01 00:00:00', undefined]])
    expect((await select('by-run', { run: 'r-2' })).rows[0]?.[3]).to.equal("it's")
    expect((await select('by-run', { run: 'tab\there \\' })).rows.length).to.equal(1)
    const since = await select('since', { since: '2026-01-02 00:00:00', least: '2.9' })
    expect(since.rows).to.deep.equal([['1', '3']])
  })

  it('take no value for SQL, whatever it holds', async () => {
    for (const run of [
      "' OR 1=1 --",
      "r-1' UNION ALL SELECT 1,2,3,4 --",
      '{run:String}',
      '\\',
      "\\'",
    ])
      expect((await select('by-run', { run })).rows, run).to.deep.equal([])
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 30 }), async (text) => {
        fc.pre(!text.includes('\0'))
        expect((await select('echo', { text })).rows).to.deep.equal([[text]])
      }),
      { numRuns: 30 },
    )
  })

  it('are refused with other parameters than their own, and of another form, before anything is asked', async () => {
    const asked = (await server.asked()).length
    for (const [query, parameters] of [
      ['by-run', {}],
      ['by-run', { run: 'r', more: '1' }],
      ['since', { since: 'yesterday', least: '1' }],
      ['since', { since: '2026-01-02 00:00:00', least: '1; DROP TABLE runs' }],
      ['by-run', { run: 'x'.repeat(1025) }],
      ['by-run', { run: 'a\0b' }],
      ['none', {}],
    ] as const)
      expect(await reasonOf(select(query, parameters))).to.include('QUERY_REFUSED')
    const other = metrics.select({ source: 'none', query: 'all' })
    expect(await reasonOf(other)).to.include('SOURCE_UNKNOWN')
    expect((await server.asked()).length).to.equal(asked)
  })

  it('are bounded in rows, read alone, and tell nothing of what ClickHouse says in errors', async () => {
    expect(await reasonOf(select('all'))).to.match(/QUERY_REFUSED.*id [0-9a-f]{8}/)
    const broken = await reasonOf(select('broken'))
    expect(broken).to.include('QUERY_REFUSED').and.not.to.include('SECRET')
    const last = (await server.asked()).at(-1)
    expect(last?.settings).to.include({ readonly: '1', max_result_rows: '50', database: 'usage' })
    const locked = metrics.select({ source: 'locked', query: 'all' })
    expect(await reasonOf(locked)).to.include('CREDENTIALS_MISSING')
  })

  it('show in posture whether the disks are encrypted', async () => {
    const { settings } = stack.agents[0]!
    const found = await agentPosture(settings, stack.ambient, new AbortController().signal)
    const line = found.find(
      ({ area, check }) => area === 'ClickHouse' && check === 'encryption at rest',
    )
    expect(line?.outcome).to.equal('UNKNOWN')
    expect(line?.evidence).to.include('not encrypted by ClickHouse')
  })

  it('end with their caller', async () => {
    const slow = metrics.select({ source: 'usage', query: 'sleepy' }, { timeoutMs: 300 })
    expect(await reasonOf(slow)).to.match(/DEADLINE_EXCEEDED|BACKEND_UNREACHABLE/)
  })

  for (const [sql, text] of [
    ['DROP TABLE runs', 'begin with SELECT'],
    ['SELECT 1; DROP TABLE runs', '";"'],
    ['SELECT 1 FORMAT CSV', 'FORMAT'],
    ['SELECT 1 SETTINGS readonly = 0', 'SETTINGS'],
    ["SELECT 1 INTO OUTFILE '/tmp/x'", 'INTO OUTFILE'],
    ['SELECT 1 -- and more', '--'],
    ['SELECT {x:AggregateFunction}', 'must be one of'],
    ['SELECT {x:String}, {x:Int8}', 'two types'],
  ] as const)
    it(`are refused in the settings: ${sql}`, () => {
      const row = { name: 'x', url: 'http://127.0.0.1:1', queries: [{ name: 'q', sql }] }
      expect(() => AGENT_SETTINGS.clickhouse.parse([row])).to.throw(text)
    })
})
