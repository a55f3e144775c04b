import { expect } from 'chai'
import fc from 'fast-check'
import { ByteBudget } from '../../src/base/byte-budget.ts'
import { DeadlineWheel, type Deadlined } from '../../src/base/deadline-wheel.ts'
import { printable } from '../../src/base/errors.ts'
import { TokenBucket } from '../../src/base/token-bucket.ts'

class Entry implements Deadlined {
  wheelPrevious: Deadlined | undefined
  wheelNext: Deadlined | undefined
  readonly deadlineAtMs: number
  readonly onDeadline: () => void

  constructor(deadlineAtMs: number, onDeadline: () => void) {
    this.deadlineAtMs = deadlineAtMs
    this.onDeadline = onDeadline
  }
}

describe('DeadlineWheel', () => {
  it('fires every entry once, never early and at most one slot late, and none that was removed', () => {
    const delay = fc.integer({ min: 1, max: 20_000 })
    fc.assert(
      fc.property(
        fc.array(fc.tuple(delay, fc.boolean()), { maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 6000 }), { maxLength: 30 }),
        (plan, steps) => {
          const wheel = new DeadlineWheel()
          const fired: [number, number][] = []
          let nowMs = 0
          const entries = plan.map(([atMs]) => new Entry(atMs, () => fired.push([atMs, nowMs])))
          for (const entry of entries) wheel.add(entry, nowMs)
          plan.forEach(([, isRemoved], i) => {
            if (isRemoved) wheel.remove(entries[i]!)
          })
          const kept = plan.filter(([, isRemoved]) => !isRemoved).map(([atMs]) => atMs)
          for (const step of [...steps, 20_010]) {
            const beforeMs = nowMs
            nowMs += step
            wheel.advance(nowMs)
            for (const [dueMs, atMs] of fired.filter(([, atMs]) => atMs === nowMs))
              expect(dueMs).to.be.within(beforeMs - 4, atMs)
          }
          const order = (a: number, b: number): number => a - b
          expect(fired.map(([dueMs]) => dueMs).sort(order)).to.deep.equal(kept.sort(order))
          expect(wheel.size).to.equal(0)
        },
      ),
    )
  })

  it('lets what fires remove its neighbours of the same slot', () => {
    const wheel = new DeadlineWheel()
    const second = new Entry(8, () => undefined)
    const first = new Entry(8, () => {
      wheel.remove(second)
    })
    wheel.add(second, 0)
    wheel.add(first, 0)
    wheel.advance(12)
    expect(wheel.size).to.equal(0)
  })
})

describe('TokenBucket', () => {
  it('grants the burst, then the rate', () => {
    const bucket = new TokenBucket(10, 5)
    const takeAll = (nowMs: number): number => {
      let count = 0
      while (bucket.spend(nowMs)) count++
      return count
    }
    expect([takeAll(0), takeAll(50), takeAll(1000), takeAll(60_000)]).to.deep.equal([5, 0, 5, 5])
  })
})

describe('ByteBudget', () => {
  it('takes all of a request or nothing', () => {
    const budget = new ByteBudget(100)
    expect([budget.reserve(60), budget.reserve(41), budget.reserve(40)]).to.deep.equal([
      true,
      false,
      true,
    ])
    budget.release(100)
    expect(budget.reservedBytes).to.equal(0)
    expect(() => {
      budget.release(1)
    }).to.throw('released more')
  })
})

describe('printable', () => {
  it('keeps text from outside on one short line', () => {
    expect(printable('a\r\n\u001b[31mb\u2028c\u0085')).to.equal('a???[31mb?c?')
    expect(printable('x'.repeat(300)).length).to.equal(201)
  })
})
