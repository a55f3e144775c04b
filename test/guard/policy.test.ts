import { expect } from 'chai'
import { Policy, type Crossing } from '../../src/guard/policy.ts'
import { codeOf } from '../support/code-of.ts'

const CALL: Crossing = {
  caller: 'billing',
  name: 'a.b.Service/Read',
  isForward: false,
  dataType: undefined,
  offeredDataType: 'cluster-record',
}
const FORWARD: Crossing = { ...CALL, name: 'db', isForward: true }

describe('Policy', () => {
  const policy = new Policy([
    { caller: 'billing', methods: ['a.b.Service/Read', 'a.c.Other/*'], services: [] },
    { caller: '*', methods: [], services: ['db'] },
  ])
  const isAllowed = (crossing: Crossing): boolean => policy.decide(crossing) === undefined

  it('allows what a rule lists, and nothing else', () => {
    const yes = [CALL, { ...CALL, name: 'a.c.Other/Any' }, FORWARD, { ...FORWARD, caller: 'other' }]
    const no = [
      { ...CALL, caller: 'other' },
      { ...CALL, caller: '' },
      { ...CALL, name: 'a.b.Service/Write' },
      { ...CALL, name: 'a.b.Service/ReadAll' },
      { ...CALL, name: 'a.c.Other2/Any' },
      { ...CALL, name: 'x.a.c.Other/Any' },
      { ...FORWARD, name: 'db2' },
    ]
    expect(yes.map(isAllowed)).to.deep.equal(yes.map(() => true))
    expect(no.map(isAllowed)).to.deep.equal(no.map(() => false))
  })

  it('keeps methods and services apart, whatever their names', () => {
    expect(isAllowed({ ...CALL, name: 'db' })).to.equal(false)
    expect(isAllowed({ ...FORWARD, name: 'a.b.Service/Read' })).to.equal(false)
    const everyMethod = new Policy([{ caller: '*', methods: ['*'], services: [] }])
    expect(everyMethod.decide(FORWARD)?.code).to.equal('POLICY_DENIED')
  })

  it('allows traffic that nobody can classify to no wildcard', () => {
    const traffic = { ...FORWARD, offeredDataType: 'service-traffic' } as const
    const rule = { caller: 'billing', methods: ['*'], services: ['*'] }
    const open = new Policy([rule])
    expect(open.decide(FORWARD)).to.equal(undefined)
    expect(open.decide(traffic)?.text).to.include('the rule must name it')
    open.use([rule, { ...rule, services: ['db'] }])
    expect(open.decide(traffic)).to.equal(undefined)
    expect(open.decide({ ...traffic, caller: 'other' })?.code).to.equal('POLICY_DENIED')
  })

  it('with no rules refuses everything', () => {
    const empty = new Policy([])
    expect([empty.decide(CALL)?.code, empty.decide(FORWARD)?.code]).to.deep.equal([
      'POLICY_DENIED',
      'POLICY_DENIED',
    ])
    expect([empty.allowed, empty.denied]).to.deep.equal([0, 2])
  })

  it('refuses a declared data type that is not the one offered', () => {
    expect(isAllowed({ ...CALL, dataType: 'cluster-record' })).to.equal(true)
    expect(policy.decide({ ...CALL, dataType: 'task-log' })?.code).to.equal('POLICY_DENIED')
  })

  it('decides the same again, and remembers a bounded number of decisions', () => {
    for (let i = 0; i < 25_000; i++)
      expect(isAllowed({ ...CALL, name: `a.b.Service/M${String(i)}` })).to.equal(false)
    expect(isAllowed(CALL)).to.equal(true)
    expect(isAllowed(CALL)).to.equal(true)
  })

  it('refuses patterns that could never match', () => {
    for (const pattern of ['Service', '/Read', 'a.b.Service/', 'a.b.Service/Re*', '*.b/Read', ''])
      codeOf(
        () => new Policy([{ caller: '*', methods: [pattern], services: [] }]),
        'CONFIG_INVALID',
      )
  })
})
