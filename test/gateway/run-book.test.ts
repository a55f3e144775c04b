import { create } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { RunEventSchema } from '../../src/gen/postern/dataplane/v1/events_pb.js'
import { Phase } from '../../src/gen/postern/dataplane/v1/tasks_pb.js'
import { EntrySchema, type Entry } from '../../src/gen/postern/v1/runs_pb.js'
import { runRow } from '../../src/gateway/runs/run-row.ts'
import { RunBook } from '../../src/gateway/runs/runs.ts'
import { Records } from '../../src/store/records.ts'
import { codeOf } from '../support/code-of.ts'
import { FakeClock } from '../support/fake-clock.ts'

const action = { organisation: 'o', project: 'p', domain: 'd', run: 'r', action: 'a' }
const entry = (number: number, message = String(number), more: object = {}): Entry =>
  create(EntrySchema, {
    ...{ stream: 'ab', number: BigInt(number) },
    event: create(RunEventSchema, { action, attempt: 1, phase: Phase.RUNNING, message, ...more }),
  })

const bounds = { countMax: 5, bytesMax: 1_000_000 }

describe('the book of runs', () => {
  let records: Records
  let clock: FakeClock
  let book: RunBook
  beforeEach(async () => {
    records = await Records.open(':memory:')
    clock = new FakeClock()
    book = new RunBook(records.database, clock, bounds)
  })
  afterEach(async () => {
    await records.close()
  })
  const append = async (entries: readonly Entry[], cluster = 'c-1', to = book): Promise<void> => {
    await to.append(cluster, 'a-1', entries.map(runRow))
  }
  const messages = async (cluster = 'c-1'): Promise<string[]> => {
    const kept = await book.list({ cluster, run: undefined, after: 0, limit: 100 })
    return kept.map(({ event }) => event.message)
  }

  it('keeps an entry once, however often it comes, and those of each agent in their order', async () => {
    await append([entry(1), entry(2)])
    await append([entry(1), entry(2), entry(3), entry(3)])
    expect(await messages()).to.deep.equal(['1', '2', '3'])
  })

  it('keeps so many of a cluster, and no cluster costs another its own', async () => {
    await append([entry(1)], 'c-2')
    for (let i = 1; i <= 12; i++) await append([entry(i)])
    expect(await messages()).to.deep.equal(['8', '9', '10', '11', '12'])
    expect(await messages('c-2')).to.deep.equal(['1'])
  })

  it('keeps so many bytes of a cluster', async () => {
    const small = new RunBook(records.database, clock, { countMax: 100, bytesMax: 10_000 })
    for (let i = 1; i <= 12; i++) await append([entry(i, 'x'.repeat(1500))], 'c-1', small)
    const kept = (await messages()).filter((one) => one.length === 1500)
    // The one in which the bound lies stays.
    expect(kept.length).to.equal(7)
  })

  it('lets nothing go for what comes twice', async () => {
    await append([1, 2, 3, 4, 5].map((i) => entry(i)))
    for (let i = 0; i < 20; i++) await append([entry(4), entry(5)])
    expect(await messages()).to.deep.equal(['1', '2', '3', '4', '5'])
  })

  it('lets go of what is old', async () => {
    await append([entry(1)])
    expect(await book.prune(clock.wallMs() - 1)).to.equal(0)
    const later = new RunBook(records.database, clock, bounds)
    expect(await later.prune(clock.wallMs() + 1)).to.equal(1)
    expect(await messages()).to.deep.equal([])
  })

  for (const [what, odd] of [
    ['no event', create(EntrySchema, { stream: 'ab', number: 1n })],
    ['no number', entry(0)],
    ['a number beyond what is counted', create(EntrySchema, { ...entry(1), number: 2n ** 60n })],
    ['a stream that is none', create(EntrySchema, { ...entry(1), stream: "'; drop table" })],
    ['an action that is a path', entry(1, 'x', { action: { ...action, run: '../r' } })],
    ['a phase of nothing', entry(1, 'x', { phase: 99 })],
    ['texts that no agent would leave so long', entry(1, 'x'.repeat(2049))],
    ['a time before all time', entry(1, 'x', { at: { seconds: -(10n ** 17n), nanos: 0 } })],
    ['a time of no second', entry(1, 'x', { at: { seconds: 0n, nanos: -1 } })],
    [
      'a definition that is long as JSON',
      entry(1, 'x', { task: { name: '\u0001'.repeat(20_000) } }),
    ],
    [
      'a definition without end',
      entry(1, 'x', { task: { name: 't', arguments: Array(100).fill('x'.repeat(2000)) } }),
    ],
  ] as const)
    it(`takes no entry that has ${what}, though its agent is let in`, () => {
      codeOf(() => runRow(odd), 'EVENT_REFUSED')
    })

  it('takes what a terminal would obey out of texts', async () => {
    await append([entry(1, '\u001b[2J')])
    expect(await messages()).to.deep.equal(['?[2J'])
  })
})
