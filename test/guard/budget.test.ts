import { expect } from 'chai'
import fc from 'fast-check'
import { Permit } from '../../src/contract/call-guard.ts'
import { Budget } from '../../src/guard/budget.ts'
import { readSpent } from '../../src/guard/budgets.ts'
import { Guard } from '../../src/guard/guard.ts'
import { noteText } from '../support/seen.ts'
import { ask, guardWith, policy } from './asks.ts'

describe('a budget', () => {
  it('lets no span of its length have more than its amount, whenever it is drawn on', () => {
    const step = fc.tuple(fc.nat(400), fc.nat(30))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const budget = new Budget({ amount: 100, periodMs: 1000 }, 0)
        const spent: { atMs: number; amount: number }[] = []
        let nowMs = 0
        for (const [waitMs, amount] of steps) {
          nowMs += waitMs
          if (budget.spend(amount, nowMs)) spent.push({ atMs: nowMs, amount })
          const inSpan = spent.filter(({ atMs }) => atMs > nowMs - 1000)
          expect(inSpan.reduce((sum, one) => sum + one.amount, 0)).to.be.at.most(100)
        }
      }),
    )
  })

  it('has all of it again once the span is past', () => {
    const budget = new Budget({ amount: 5, periodMs: 1000 }, 0)
    expect([budget.spend(5, 0), budget.spend(1, 500), budget.left(500)]).to.deep.equal([
      true,
      false,
      0,
    ])
    expect(budget.left(1100)).to.equal(5)
    expect(budget.spend(5, 1e9)).to.equal(true)
  })

  it('goes on after a restart as if no time had passed', () => {
    const before = new Budget({ amount: 5, periodMs: 1000 }, 0)
    before.spend(4, 100)
    const after = new Budget({ amount: 5, periodMs: 1000 }, 0, before.spent(100))
    expect(after.left(0)).to.equal(1)
    expect(after.left(900)).to.equal(1)
    expect(after.left(1100)).to.equal(5)
  })

  it('counts what was kept in another form as nothing', () => {
    expect(readSpent({ a: [1, 2], b: 'x', c: [-1], d: [null] })).to.deep.equal({ a: [1, 2] })
    for (const bad of [null, 5, 'x']) expect(readSpent(bad)).to.deep.equal({})
  })
})

const RULE =
  'rules: [{ name: few, callers: ["*"], methods: ["*"], budget: { calls: 2/min, bytes: 10B/h } }]'

describe('budgets of a policy', () => {
  it('refuse calls that are too many, for a time, and keep it over a restart and another policy', () => {
    const { guard, clock, ports } = guardWith(policy(RULE))
    const isAllowed = (one: Guard): boolean => Permit.is(one.decide(ask()))
    expect([isAllowed(guard), isAllowed(guard), isAllowed(guard)]).to.deep.equal([
      true,
      true,
      false,
    ])
    guard.use(policy(`${RULE}\npush: off`))
    expect(isAllowed(guard)).to.equal(false)
    const again = new Guard(ports, policy(RULE), guard.budgets.spent(clock.nowMs()))
    expect(isAllowed(again)).to.equal(false)
    clock.advance(62_000)
    expect([isAllowed(guard), isAllowed(again)]).to.deep.equal([true, true])
  })

  it('end a call within its bytes, and refuse the next', () => {
    const { guard, recorder } = guardWith(policy(RULE))
    const permit = guard.decide(ask({ kind: 'bidi' }))
    if (!Permit.is(permit)) throw new Error(permit.text)
    expect(permit.pass('in', 6)).to.equal(undefined)
    const { code = '' } = permit.pass('out', 6) ?? {}
    noteText(code)
    expect(code).to.equal('POLICY_BUDGET')
    permit.ended('RESOURCE_EXHAUSTED')
    expect(recorder.ends[0]).to.include({ bytesIn: 6, bytesOut: 0 })
    expect(permit.pass('in', 4)).to.equal(undefined)
    const next = guard.decide(ask())
    expect(!Permit.is(next) && next.code).to.equal('POLICY_BUDGET')
  })

  it('hold for a type over all rules', () => {
    const { guard } = guardWith(
      policy(
        'budgets: { metric: { calls: 1/day } }\nrules: [{ name: a, callers: [x], methods: ["*"] }, { name: b, callers: [y], methods: ["*"] }]',
      ),
    )
    const decide = (caller: string, type: 'metric' | 'task-log'): boolean =>
      Permit.is(guard.decide(ask({ caller, type })))
    expect([decide('x', 'metric'), decide('y', 'metric'), decide('y', 'task-log')]).to.deep.equal([
      true,
      false,
      true,
    ])
  })
})
