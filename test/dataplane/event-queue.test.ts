import { expect } from 'chai'
import { WireType } from '@bufbuild/protobuf/wire'
import { create } from '@bufbuild/protobuf'
import fc from 'fast-check'
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { judgeEvent } from '../../src/contract/run-event.ts'
import { EventQueue, type EventQueuePorts } from '../../src/dataplane/events/events.ts'
import { RunEventSchema, type RunEvent } from '../../src/gen/postern/dataplane/v1/events_pb.js'
import { Phase } from '../../src/gen/postern/dataplane/v1/tasks_pb.js'
import { codeOf } from '../support/code-of.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const action = { organisation: 'o', project: 'p', domain: 'd', run: 'r', action: 'a' }
const event = (message: string, more: object = {}): RunEvent =>
  create(RunEventSchema, { action, attempt: 1, phase: Phase.RUNNING, message, ...more })

describe('the queue of events', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-events-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })
  let seed = 0
  const queueOf = (more: Partial<EventQueuePorts> = {}): EventQueue =>
    new EventQueue({
      ...{ clock: new FakeClock(), random: new SeededRandom(++seed), bytesMax: 2000 },
      rules: { texts: 'pass', redact: (text) => ({ text, count: 0 }) },
      spill: undefined,
      onAdded: () => undefined,
      ...more,
    })
  const spill = (bytesMax = 1_000_000) => ({
    directory: join(folder, 'events'),
    keyFile: join(folder, 'events.key'),
    bytesMax,
  })
  const drain = (queue: EventQueue, each = 3): string[] => {
    const told: string[] = []
    for (let next = queue.next(each, 10_000); next.length > 0; next = queue.next(each, 10_000)) {
      told.push(...next.map((one) => one.event?.message ?? ''))
      queue.acknowledge(next.length)
    }
    return told
  }

  it('tells them in the order in which they came, and again until they are acknowledged', () => {
    const queue = queueOf()
    queue.post([event('1'), event('2')])
    queue.post([event('3')])
    expect(queue.next(2, 10_000).map((one) => one.event?.message)).to.deep.equal(['1', '2'])
    expect(queue.next(2, 10_000).map(({ number }) => number)).to.deep.equal([1n, 2n])
    queue.acknowledge(1)
    expect(drain(queue)).to.deep.equal(['2', '3'])
    expect(queue.report()).to.deep.include({ waiting: 0, bytes: 0, accepted: 3, delivered: 3 })
  })

  it('refuses what has no room, counts it, and loses nothing that it took', () => {
    const queue = queueOf({ bytesMax: 300 })
    queue.post([event('1')])
    codeOf(() => {
      queue.post([event('x'.repeat(400))])
    }, 'EVENTS_FULL')
    expect(queue.report().refused).to.equal(1)
    expect(drain(queue)).to.deep.equal(['1'])
  })

  it('goes on over the disk where memory is full, encrypted, in order and over a restart', () => {
    const queue = queueOf({ bytesMax: 500, spill: spill() })
    const messages = Array.from({ length: 60 }, (_, i) => `private words ${String(i)}`)
    for (const message of messages) queue.post([event(message)])
    expect(queue.report().waiting).to.be.below(60)
    for (const name of readdirSync(join(folder, 'events'))) {
      const path = join(folder, 'events', name)
      expect(readFileSync(path).includes('private words')).to.equal(false)
      expect(statSync(path).mode & 0o777).to.equal(0o600)
    }
    expect(statSync(join(folder, 'events.key')).mode & 0o777).to.equal(0o600)
    const [first, second] = queue.next(2, 10_000)
    queue.acknowledge(1)
    // As a kill leaves it: another process begins with what is on disk. What was acknowledged may come again, under its number.
    const next = queueOf({ bytesMax: 500, spill: spill() })
    next.post([event('after')])
    expect(next.next(1, 10_000)[0]?.stream).to.equal(first?.stream)
    const told = drain(next)
    expect(told.slice(-60)).to.deep.equal([...messages.slice(1), 'after'])
    expect(second?.number).to.equal(2n)
    expect(next.report()).to.deep.include({ waiting: 0, spilled: 0, damaged: 0 })
  })

  it('refuses all of what does not fit on the disk any more', () => {
    const queue = queueOf({ bytesMax: 200, spill: spill(600) })
    let taken = 0
    codeOf(() => {
      for (;;) {
        queue.post([event('a'.repeat(30)), event('b')])
        taken += 2
      }
    }, 'EVENTS_FULL')
    expect(drain(queue).length).to.equal(taken)
  })

  it('goes on behind a segment that was cut off or altered, and counts it', () => {
    const queue = queueOf({ bytesMax: 200, spill: spill() })
    for (let i = 0; i < 5; i++) queue.post([event(`m${String(i)}`)])
    const [name = ''] = readdirSync(join(folder, 'events')).sort()
    const path = join(folder, 'events', name)
    writeFileSync(path, readFileSync(path).subarray(0, -5))
    const next = queueOf({ bytesMax: 10_000, spill: spill() })
    next.post([event('after')])
    expect(drain(next).at(-1)).to.equal('after')
    expect(next.report().damaged).to.equal(1)
  })

  it('cuts texts at their bound, redacts them, or leaves them out', () => {
    const rules = {
      texts: 'pass' as const,
      redact: (text: string) => ({ text: text.replaceAll('secret', '…'), count: 1 }),
    }
    const told = (queue: EventQueue): RunEvent | undefined => queue.next(1, 10_000)[0]?.event
    const passing = queueOf({ rules, bytesMax: 100_000 })
    passing.post([event(`secret ${'é'.repeat(3000)}`, { failure: { kind: 'E', text: 'secret' } })])
    const first = told(passing)
    expect(Buffer.byteLength(first?.message ?? '')).to.be.within(2000, 2048)
    expect([first?.message.slice(0, 2), first?.failure?.text, first?.cut]).to.deep.equal([
      '… ',
      '…',
      true,
    ])
    expect(first?.message).not.to.include('\ufffd')
    const dropping = queueOf({ rules: { ...rules, texts: 'drop' } })
    dropping.post([event('secret', { attributes: { a: 'secret' }, failure: { text: 'x' } })])
    expect(JSON.stringify(told(dropping)?.attributes)).to.equal('{"a":""}')
    expect([told(dropping)?.message, told(dropping)?.failure?.text]).to.deep.equal(['', ''])
  })

  it('tells nothing that the other end would refuse, whatever redaction makes of it', () => {
    const rules = {
      texts: 'pass' as const,
      redact: (text: string) => ({ text: text.replaceAll('x', '[redacted]'), count: 1 }),
    }
    const queue = queueOf({ rules, bytesMax: 1_000_000 })
    const attributes = Object.fromEntries(
      Array.from({ length: 32 }, (_, i) => [`a${String(i)}`, 'x'.repeat(256)]),
    )
    const long = 'x'.repeat(5000)
    queue.post([event(long, { attributes, failure: { kind: 'x'.repeat(256), text: long } })])
    const told = queue.next(1, 1)[0]?.event
    expect(told?.cut).to.equal(true)
    if (told !== undefined) judgeEvent(told)
  })

  it('tells of a task without its definition where that is too long', () => {
    const queue = queueOf({ bytesMax: 1_000_000 })
    const task = {
      name: 't',
      version: '1',
      image: 'i',
      arguments: Array(100).fill('x'.repeat(1000)),
    }
    queue.tell(event('', { task }))
    queue.tell(event('', { task: { name: 'odd', command: ['\u0001'.repeat(20_000)] } }))
    const told = queue.next(2, 100_000).map((one) => one.event)
    expect(told.map((one) => one?.task?.name)).to.deep.equal(['t', 'odd'])
    expect(told.map((one) => one?.task?.arguments.length)).to.deep.equal([0, 0])
    expect(told.every((one) => one?.cut)).to.equal(true)
  })

  it('tells no field that it does not know', () => {
    const odd = event('x', { attributes: { a: 'b' } })
    odd.$unknown = [
      { no: 99, wireType: WireType.LengthDelimited, data: Buffer.from('\u0006hidden') },
    ]
    const queue = queueOf()
    queue.post([odd])
    const [told] = queue.next(1, 10_000)
    expect(told?.event?.$unknown ?? []).to.deep.equal([])
  })

  it('goes on behind one that nobody takes, and counts it', () => {
    const queue = queueOf()
    queue.post([event('1'), event('2')])
    queue.drop()
    expect(drain(queue)).to.deep.equal(['2'])
    expect(queue.report()).to.deep.include({ delivered: 1, dropped: 1 })
  })

  it('keeps nothing of a post that the disk did not take, and all of those after it', () => {
    const queue = queueOf({ spill: spill() })
    symlinkSync('/dev/full', join(folder, 'events', '000000000001.events'))
    codeOf(() => {
      queue.post([event('lost 1'), event('lost 2')])
    }, 'STATE_UNWRITABLE')
    queue.post([event('after 1')])
    queue.post([event('after 2')])
    expect(queue.report().accepted).to.equal(2)
    const next = queueOf({ spill: spill() })
    expect(drain(next)).to.deep.equal(['after 1', 'after 2'])
  })

  it('gives the room of what it cannot read back', () => {
    const bytes = 1000
    const queue = queueOf({ bytesMax: 100_000, spill: spill(bytes) })
    queue.post([event('x'.repeat(800))])
    writeFileSync(join(folder, 'events.key'), Buffer.alloc(32, 1))
    const next = queueOf({ bytesMax: 100_000, spill: spill(bytes) })
    expect(next.report()).to.deep.include({ damaged: 1, spilled: 0 })
    next.post([event('y'.repeat(800))])
    expect(drain(next).length).to.equal(1)
  })

  for (const [what, odd] of [
    ['without an action', event('x', { action: undefined })],
    ['of a run that is a path', event('x', { action: { ...action, run: '../r' } })],
    ['without an attempt', event('x', { attempt: 0 })],
    ['without a phase', event('x', { phase: Phase.UNSPECIFIED })],
    ['of a phase that nobody knows', event('x', { phase: 99 })],
    ['with long attributes', event('x', { attributes: { a: 'b'.repeat(257) } })],
    ['at a time before all time', event('x', { at: { seconds: -(10n ** 17n), nanos: 0 } })],
    ['at a time of no second', event('x', { at: { seconds: 0n, nanos: 2 ** 30 } })],
    ['with an attribute of no name', event('x', { attributes: { 'a b': '' } })],
    ['with a definition, which only the agent tells', event('x', { task: { name: 't' } })],
  ] as const)
    it(`refuses one ${what}`, () => {
      const queue = queueOf()
      codeOf(() => {
        queue.post([event('good'), odd])
      }, 'EVENT_REFUSED')
      expect(queue.report().waiting).to.equal(0)
    })

  it('loses, doubles and turns round nothing, whatever comes when', () => {
    const step = fc.oneof(
      fc.record({ post: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ take: fc.integer({ min: 1, max: 5 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        rmSync(join(folder, 'events'), { recursive: true, force: true })
        const queue = queueOf({ bytesMax: 300, spill: spill() })
        let sent = 0
        const told: string[] = []
        for (const one of steps)
          if ('post' in one)
            queue.post(Array.from({ length: one.post }, () => event(String(sent++))))
          else {
            const next = queue.next(one.take, 10_000)
            told.push(...next.map((entry) => entry.event?.message ?? ''))
            queue.acknowledge(next.length)
          }
        told.push(...drain(queue))
        expect(told).to.deep.equal(Array.from({ length: sent }, (_, i) => String(i)))
      }),
      { numRuns: 100 },
    )
  })
})
