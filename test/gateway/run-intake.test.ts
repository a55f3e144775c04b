import { create } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { RunEventSchema } from '../../src/gen/postern/dataplane/v1/events_pb.js'
import { Phase } from '../../src/gen/postern/dataplane/v1/tasks_pb.js'
import { AppendRequestSchema, type AppendRequest } from '../../src/gen/postern/v1/runs_pb.js'
import type { RunRow } from '../../src/gateway/runs/run-row.ts'
import { RunIntake } from '../../src/gateway/runs/runs.ts'
import { asPosternError, type ErrorCode } from '../../src/base/errors.ts'
import { rejection } from '../support/code-of.ts'
import { FakeClock } from '../support/fake-clock.ts'

const action = { organisation: 'o', project: 'p', domain: 'd', run: 'r', action: 'a' }
const batch = (count: number, message = '', first = 1): AppendRequest => {
  const event = create(RunEventSchema, { action, attempt: 1, phase: Phase.RUNNING, message })
  const entries = Array.from({ length: count }, (_, i) => ({
    ...{ stream: 'ab', number: BigInt(first + i), event },
  }))
  return create(AppendRequestSchema, { entries })
}
const refusal = async (promise: Promise<unknown> | undefined, code: ErrorCode): Promise<void> => {
  const told = Promise.resolve(promise).catch((error: unknown) => {
    throw asPosternError(error)
  })
  await rejection(told, code)
}
const source = (cluster: string, agent = 'a-1') => ({ cluster, agent })

describe('the intake of runs', () => {
  let clock: FakeClock
  let written: string[]
  let intake: RunIntake
  let pending: (() => void)[]
  let isHeld: boolean
  beforeEach(() => {
    clock = new FakeClock()
    written = []
    pending = []
    isHeld = false
    intake = new RunIntake({ append }, clock)
  })
  const append = async (cluster: string, agent: string, rows: readonly RunRow[]): Promise<void> => {
    written.push(`${cluster} ${agent} ${String(rows.length)}`)
    if (!isHeld) return
    await new Promise<void>((resolve) => pending.push(resolve))
  }
  /** Batches that are taken until one is refused. */
  const fill = async (cluster: string, message = ''): Promise<number> => {
    for (let i = 0; ; i++)
      try {
        await intake.append(source(cluster, `a-${String(i)}`), batch(100, message))
      } catch (error) {
        expect((error as { code?: string }).code).to.equal('EVENTS_FULL')
        return i
      }
  }

  it('says how many it has kept', async () => {
    expect(await intake.append(source('c-1'), batch(3))).to.deep.equal({ kept: 3 })
    expect(written).to.deep.equal(['c-1 a-1 3'])
  })

  it('takes of a cluster at a rate, whichever agents and tunnels bring it, and of another still', async () => {
    expect(await fill('c-1')).to.equal(50)
    await intake.append(source('c-2'), batch(100))
    clock.advance(1000)
    expect(await fill('c-1')).to.equal(5)
  })

  it('takes at a rate of bytes too', async () => {
    expect(await fill('c-1', 'x'.repeat(2000))).to.be.below(45)
  })

  it('has batches of nothing cost something', async () => {
    let taken = 0
    const none = batch(0)
    try {
      for (; ; taken++) await intake.append(source('c-1'), none)
    } catch {
      // Refused at last.
    }
    expect(taken).to.equal(5000)
  })

  it('writes one batch at a time, the clusters in turns', async () => {
    isHeld = true
    const all = ['c-1', 'c-1', 'c-1', 'c-2', 'c-3'].map((cluster) =>
      intake.append(source(cluster), batch(1)),
    )
    for (let i = 0; i < all.length; i++) {
      await new Promise(setImmediate)
      expect(written.length).to.equal(i + 1)
      pending.shift()?.()
    }
    await Promise.all(all)
    expect(written.map((one) => one.slice(0, 3))).to.deep.equal(['c-1', 'c-2', 'c-3', 'c-1', 'c-1'])
  })

  it('holds few batches of a cluster that wait', async () => {
    isHeld = true
    const all = Array.from({ length: 9 }, () => intake.append(source('c-1'), batch(1)))
    await refusal(all[8], 'EVENTS_FULL')
    for (let i = 0; i < 8; i++) {
      await new Promise(setImmediate)
      pending.shift()?.()
    }
    await Promise.all(all.slice(0, 8))
  })

  it('goes on behind a batch that could not be written', async () => {
    let isFirst = true
    const failing = new RunIntake(
      {
        append: async () => {
          await Promise.resolve()
          if (isFirst) {
            isFirst = false
            throw new Error('disk')
          }
        },
      },
      clock,
    )
    const [first, second] = [1, 2].map(() => failing.append(source('c-1'), batch(1)))
    await refusal(first, 'INTERNAL')
    expect(await second).to.deep.equal({ kept: 1 })
  })

  it('refuses more entries than come at once', async () => {
    await refusal(intake.append(source('c-1'), batch(101)), 'EVENT_REFUSED')
    expect(written).to.deep.equal([])
  })
})
