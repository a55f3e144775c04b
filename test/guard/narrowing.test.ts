import { expect } from 'chai'
import fc from 'fast-check'
import { Permit } from '../../src/contract/call-guard.ts'
import type { DataType } from '../../src/contract/data-type.ts'
import { readCallerPattern, type CallerPattern } from '../../src/guard/pattern.ts'
import { EMPTY_POLICY, rule, type PolicyDocument } from '../../src/guard/rule.ts'
import { ask, guardWith, policy } from './asks.ts'

const CALLERS = ['a', 'ab', 'b']
const METHODS = ['p.S/M', 'p.S/N', 'p.T/M']
const SERVICES = ['db', 'web']
const TYPES: readonly DataType[] = ['metric', 'task-log', 'service-traffic']

const anyRule = fc.record({
  callers: fc.subarray(['*', 'a*', 'a', 'b', 'a@first-hand', '*@gateway']),
  methods: fc.subarray(['*', 'p.S/*', 'p.S/M', 'p.T/M']),
  services: fc.subarray(['*', 'db', 'web']),
  types: fc.option(fc.subarray([...TYPES]), { nil: undefined }),
  sealed: fc.boolean(),
})
const anyPolicy = fc.array(anyRule, { maxLength: 4 }).map((rules): PolicyDocument => ({
  ...EMPTY_POLICY,
  rules: rules.map(({ callers, ...said }, index) =>
    rule({
      name: String(index),
      place: '',
      ...said,
      callers: callers.map((text) => readCallerPattern(text) as CallerPattern),
    }),
  ),
}))
const everyAsk = CALLERS.flatMap((caller) =>
  (['gateway', 'first-hand'] as const).flatMap((known) =>
    TYPES.flatMap((type) => [
      ...(type === 'service-traffic' ? [] : METHODS).map((name) =>
        ask({ caller, known, type, name }),
      ),
      ...SERVICES.map((name) => ask({ caller, known, type, name, kind: 'forward' })),
    ]),
  ),
)

describe('what the control plane pushes', () => {
  it('never widens: whatever the two policies say, what is in force allows no more than either', () => {
    fc.assert(
      fc.property(anyPolicy, anyPolicy, (customers, pushed) => {
        const alone = guardWith(customers).guard
        const pushedAlone = guardWith(pushed).guard
        const both = guardWith(customers).guard
        both.narrow('1', 'gw-1', pushed)
        for (const one of everyAsk) {
          const isAllowed = Permit.is(both.decide(one))
          const allowedByBoth = Permit.is(alone.decide(one)) && Permit.is(pushedAlone.decide(one))
          expect(isAllowed).to.equal(allowedByBoth)
        }
      }),
    )
  })

  it('says of every push that has a widening rule which it is', () => {
    fc.assert(
      fc.property(anyPolicy, anyPolicy, (customers, pushed) => {
        const { guard } = guardWith(customers)
        const push = guard.narrow('1', 'gw-1', pushed)
        const widens = everyAsk.some(
          (one) => Permit.is(guardWith(pushed).guard.decide(one)) && !Permit.is(guard.decide(one)),
        )
        if (widens) expect(push?.widening).to.not.deep.equal([])
      }),
      { numRuns: 300 },
    )
  })

  const wide = 'rules: [{ name: all, callers: ["*"], methods: ["*"], services: [db] }]'
  const narrow = 'rules: [{ name: little, callers: [billing], methods: [a.b.Service/Read] }]'

  it('holds for the calls and the life of one tunnel, and ends what it does not allow', () => {
    const { guard, recorder } = guardWith(policy(wide))
    const running = guard.decide(ask({ name: 'x.Y/Z', kind: 'bidi' }))
    let told = ''
    if (Permit.is(running)) running.onWithdrawn = ({ code }) => (told = code)
    guard.narrow('1', 'gw-1', policy(narrow))
    expect(told).to.equal('POLICY_DENIED')
    const isAllowed = (tunnel: string, name: string): boolean =>
      Permit.is(guard.decide(ask({ tunnel, name })))
    expect([isAllowed('1', 'a.b.Service/Read'), isAllowed('1', 'x.Y/Z')]).to.deep.equal([
      true,
      false,
    ])
    expect(isAllowed('2', 'x.Y/Z')).to.equal(true)
    expect(recorder.refusals.at(-1)?.denial?.why).to.equal('pushed policy')
    guard.forget('1')
    expect(isAllowed('1', 'x.Y/Z')).to.equal(true)
  })

  it('changes nothing where it widens, and is on the record', () => {
    const { guard, recorder } = guardWith(policy(narrow))
    guard.narrow('1', 'gw-evil', policy(wide))
    expect(Permit.is(guard.decide(ask({ name: 'x.Y/Z' })))).to.equal(false)
    expect(recorder.events[0]).to.deep.include({ kind: 'push', gateway: 'gw-evil' })
    expect(recorder.events[0]?.text).to.equal('would widen, which changes nothing: all')
  })

  it('is taken from nobody where the customer has switched it off', () => {
    const { guard, recorder } = guardWith(policy(`push: off\n${wide}`))
    expect(guard.narrow('1', 'gw-1', policy(narrow))).to.equal(undefined)
    expect(Permit.is(guard.decide(ask({ name: 'x.Y/Z' })))).to.equal(true)
    expect(recorder.events[0]?.text).to.include('takes no pushes')
    guard.use(policy(wide))
    guard.narrow('1', 'gw-1', policy(narrow))
    guard.use(policy(`push: off\n${wide}`))
    expect(guard.pushes).to.deep.equal([])
  })
})
