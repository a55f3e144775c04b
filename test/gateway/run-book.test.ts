import { create } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { RunEventSchema } from '../../src/gen/postern/dataplane/v1/events_pb.js'
import { Phase } from '../../src/gen/postern/dataplane/v1/tasks_pb.js'
import { EntrySchema, type Entry } from '../../src/gen/postern/v1/runs_pb.js'
import { RunBook } from '../../src/gateway/runs/runs.ts'
import { Records } from '../../src/store/records.ts'
import { rejection } from '../support/code-of.ts'
import { FakeClock } from '../support/fake-clock.ts'

const action = { organisation: 'o', project: 'p', domain: 'd', run: 'r', action: 'a' }
const entry = (number: number, message = String(number), more: object = {}): Entry =>
  create(EntrySchema, {
    ...{ stream: 'ab', number: BigInt(number) },
    event: create(RunEventSchema, { action, attempt: 1, phase: Phase.RUNNING, message, ...more }),
  })

describe('the book of runs', () => {
  let records: Records
  let clock: FakeClock
  let book: RunBook
  beforeEach(async () => {
    records = await Records.open(':memory:')
    clock = new FakeClock()
    book = new RunBook(records.database, clock, 5)
  })
  afterEach(async () => {
    await records.close()
  })
  const messages = async (cluster = 'c-1'): Promise<string[]> => {
    const kept = await book.list({ cluster, run: undefined, after: 0, limit: 100 })
    return kept.map(({ event }) => event.message)
  }

  it('keeps an entry once, however often it comes, and those of each agent in their order', async () => {
    expect(await book.append('c-1', 'a-1', [entry(1), entry(2)])).to.equal(2)
    expect(await book.append('c-1', 'a-1', [entry(1), entry(2), entry(3)])).to.equal(3)
    expect(await messages()).to.deep.equal(['1', '2', '3'])
  })

  it('keeps so many of a cluster, and no cluster costs another its own', async () => {
    await book.append('c-2', 'a-1', [entry(1)])
    for (let i = 1; i <= 12; i++) await book.append('c-1', 'a-1', [entry(i)])
    expect(await messages()).to.deep.equal(['8', '9', '10', '11', '12'])
    expect(await messages('c-2')).to.deep.equal(['1'])
  })

  it('lets go of what is old', async () => {
    await book.append('c-1', 'a-1', [entry(1)])
    expect(await book.prune(clock.wallMs() - 1)).to.equal(0)
    const later = new RunBook(records.database, clock, 5)
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
    [
      'a definition without end',
      entry(1, 'x', { task: { name: 't', arguments: Array(100).fill('x'.repeat(2000)) } }),
    ],
  ] as const)
    it(`takes nothing of a batch with an entry that has ${what}, though its agent is let in`, async () => {
      await rejection(book.append('c-1', 'a-1', [entry(5), odd]), 'EVENT_REFUSED')
      expect(await messages()).to.deep.equal([])
    })

  it('cuts texts that an agent did not cut, and what a terminal would obey', async () => {
    await book.append('c-1', 'a-1', [entry(1, `\u001b[2J${'x'.repeat(5000)}`)])
    const [text = ''] = await messages()
    expect(text.length).to.be.at.most(2049)
    expect(text).not.to.include('\u001b')
  })
})
