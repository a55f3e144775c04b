import { expect } from 'chai'
import { Permit, type Ask, type Denial } from '../../src/contract/call-guard.ts'
import { plainData } from '../../src/contract/data-type.ts'
import type { Guard } from '../../src/guard/guard.ts'
import { codeOf } from '../support/code-of.ts'
import { noteText } from '../support/seen.ts'
import { ask, guardWith, policy } from './asks.ts'

const RULES = `
rules:
  - { name: reads, callers: [billing], methods: [a.b.Service/Read, a.c.Other/*] }
  - { name: the team, callers: [dba-*], services: [orders-db] }
  - { name: seen, callers: ["auditor@first-hand"], methods: ["*"] }
`

function denial(guard: Guard, asked: Ask): Denial {
  const decision = guard.decide(asked)
  if (Permit.is(decision)) throw new Error(`${asked.name} was allowed`)
  noteText(decision.code)
  return decision
}

function permit(guard: Guard, asked: Ask): Permit {
  const decision = guard.decide(asked)
  if (!Permit.is(decision)) throw new Error(decision.text)
  return decision
}

const isAllowed = (guard: Guard, asked: Ask): boolean => Permit.is(guard.decide(asked))

describe('the guard', () => {
  it('allows what a rule names, and nothing else', () => {
    const { guard } = guardWith(policy(RULES))
    const forward = { kind: 'forward', name: 'orders-db', type: 'service-traffic' } as const
    for (const yes of [{}, { name: 'a.c.Other/Any' }, { ...forward, caller: 'dba-anna' }])
      expect(isAllowed(guard, ask(yes)), JSON.stringify(yes)).to.equal(true)
    for (const no of [
      { caller: 'other' },
      { caller: 'billing2' },
      { name: 'a.b.Service/Write' },
      { name: 'a.b.Service/ReadAll' },
      { name: 'a.c.Other2/Any' },
      { name: 'x.a.c.Other/Any' },
      { name: 'orders-db' },
      { ...forward, caller: 'dba' },
      { ...forward, caller: 'dba-anna', name: 'orders-db2' },
      { ...forward, caller: 'dba-anna', name: 'a.b.Service/Read' },
    ])
      expect(isAllowed(guard, ask(no)), JSON.stringify(no)).to.equal(false)
  })

  it('tells callers that it has seen from those that a gateway vouches for', () => {
    const { guard } = guardWith(policy(RULES))
    const seen = { caller: 'auditor', name: 'x.Y/Z' } as const
    expect(isAllowed(guard, ask({ ...seen, known: 'first-hand' }))).to.equal(true)
    expect(isAllowed(guard, ask({ ...seen, known: 'gateway' }))).to.equal(false)
  })

  it('takes no subject of a token for the name of a certificate, nor the other way round', () => {
    const rules = (text: string): string =>
      `rules: [{ name: all, callers: ["${text}"], methods: ["*"] }]`
    const by = (caller: string, known: 'token' | 'gateway') => ask({ caller, known })
    for (const [text, caller, token, certificate] of [
      ['billing', 'billing', false, true],
      ['*', 'billing', false, true],
      ['*@gateway', 'billing', false, true],
      ['billing@token', 'billing', true, false],
      ['*@token', 'billing', true, false],
      ['anna@example.com@token', 'anna@example.com', true, false],
      ['repo:acme/*@token', 'repo:acme/api:ref', true, false],
      ['anna@example.com@token', 'anna@example.org', false, false],
    ] as const) {
      const { guard } = guardWith(policy(rules(text)))
      expect(isAllowed(guard, by(caller, 'token')), text).to.equal(token)
      expect(isAllowed(guard, by(caller, 'gateway')), text).to.equal(certificate)
    }
  })

  it('without a policy refuses everything, and tells the caller no rule', () => {
    const { guard, recorder } = guardWith()
    const { code, text } = denial(guard, ask())
    expect([code, text.replace(/[0-9a-f]{8}/, 'ID')]).to.deep.equal([
      'POLICY_DENIED',
      "billing may not use a.b.Service/Read (ID in the agent's record)",
    ])
    const id = /[0-9a-f]{8}/.exec(text)?.[0]
    expect(recorder.refusals[0]?.denial?.id).to.equal(id)
    expect([guard.allowed, guard.denied]).to.deep.equal([0, 1])
  })

  it('allows traffic that nobody can classify to no wildcard', () => {
    const wild = 'rules: [{ name: all, callers: ["*"], methods: ["*"], services: ["*"] }]'
    const traffic = ask({ kind: 'forward', name: 'db', type: 'service-traffic' })
    const { guard, recorder } = guardWith(policy(wild))
    expect(denial(guard, traffic).code).to.equal('POLICY_DENIED')
    expect(recorder.refusals[0]?.denial?.why).to.equal('unnamed')
    guard.use(policy(wild.replace('services: ["*"]', 'services: [db]')))
    expect(isAllowed(guard, traffic)).to.equal(true)
    expect(isAllowed(guard, ask({ kind: 'forward', name: 'x', type: 'service-traffic' }))).to.equal(
      false,
    )
  })

  it('allows a rule its types alone, and a call the type that is offered', () => {
    const { guard } = guardWith(
      policy('rules: [{ name: logs, callers: ["*"], methods: ["*"], types: [task-log] }]'),
    )
    expect(isAllowed(guard, ask({ type: 'task-log' }))).to.equal(true)
    expect(isAllowed(guard, ask({ type: 'metric' }))).to.equal(false)
    expect(isAllowed(guard, ask({ type: 'task-log', declared: 'task-log' }))).to.equal(true)
    expect(denial(guard, ask({ type: 'task-log', declared: 'metric' })).text).to.include(
      'carries task-log, not metric',
    )
  })

  it('lets nothing pass that never crosses, however wide the policy, and offers nothing of it', () => {
    const { guard } = guardWith(
      policy('rules: [{ name: all, callers: ["*"], methods: ["*"], services: ["*"] }]'),
    )
    for (const type of ['task-io', 'container-image', 'user-identity'] as const) {
      expect(denial(guard, ask({ type })).code).to.equal('POLICY_DENIED')
      const { message } = codeOf(() => {
        guard.judgeOffer('a.B/C', plainData(type))
      }, 'CONFIG_INVALID')
      expect(message.includes('CreateDownloadUrl')).to.equal(type === 'task-io')
    }
    codeOf(() => {
      guard.judgeOffer('a.B/C', { ...plainData('metric'), response: 'report' })
    }, 'CONFIG_INVALID')
    codeOf(() => {
      guard.judgeOffer('a.B/C', plainData('service-traffic'))
    }, 'CONFIG_INVALID')
  })

  it('demands sealed calls for secrets and URLs unless the customer says otherwise', () => {
    const rules = 'rules: [{ name: all, callers: ["*"], methods: ["*"] }]'
    const { guard } = guardWith(policy(rules))
    for (const type of ['secret', 'presigned-url'] as const)
      expect(denial(guard, ask({ type })).text).to.include('must be sealed')
    guard.use(policy(`sealed: { secret: optional, metric: required }\n${rules}`))
    expect(isAllowed(guard, ask({ type: 'secret' }))).to.equal(true)
    expect(isAllowed(guard, ask({ type: 'metric' }))).to.equal(false)
    // Who may not call at all is not told of it.
    guard.use(policy('rules: []'))
    expect(denial(guard, ask({ type: 'presigned-url' })).text).to.not.include('sealed')
  })

  it('refuses gateways and callers whose region is not allowed, or not proven', () => {
    const rules = 'rules: [{ name: all, callers: ["*"], methods: ["*"] }]'
    const { guard } = guardWith(policy(`residency: { gateways: [eu] }\n${rules}`))
    expect(isAllowed(guard, ask({ region: 'eu-central' }))).to.equal(true)
    for (const region of ['eu-west-2', 'us-east', 'eu', ''])
      expect(denial(guard, ask({ region })).code).to.equal('REGION_REFUSED')
    guard.use(policy(`residency: { callers: [eu] }\n${rules}`))
    expect(denial(guard, ask()).text).to.include('not proven')
    expect(denial(guard, ask({ callerRegion: 'us-east' })).text).to.include('is not allowed')
    expect(isAllowed(guard, ask({ callerRegion: 'eu-central' }))).to.equal(true)
  })

  it('stops all but health while locked down, at once, and what a policy locks no operator lifts', () => {
    const rules = 'rules: [{ name: all, callers: ["*"], methods: ["*"], services: [db] }]'
    const { guard, recorder } = guardWith(policy(rules))
    const told: Denial[] = []
    const running = [
      permit(guard, ask({ kind: 'bidi' })),
      permit(guard, ask({ kind: 'forward', name: 'db', type: 'service-traffic' })),
    ]
    for (const one of running) one.onWithdrawn = (why) => told.push(why)
    guard.lockDown('an incident')
    expect(told.map(({ code }) => code)).to.deep.equal(['LOCKED_DOWN', 'LOCKED_DOWN'])
    expect(running[0]?.pass('out', 1)?.code).to.equal('LOCKED_DOWN')
    expect(denial(guard, ask()).text).to.not.include('incident')
    const health = { name: 'grpc.health.v1.Health/Check' }
    expect(isAllowed(guard, ask(health))).to.equal(true)
    expect(isAllowed(guard, ask({ ...health, kind: 'serverStream' }))).to.equal(false)
    guard.lockDown(undefined)
    expect(isAllowed(guard, ask())).to.equal(true)
    guard.use(policy(`lockdown: by the group\n${rules}`))
    guard.lockDown(undefined)
    expect(denial(guard, ask()).code).to.equal('LOCKED_DOWN')
    for (const one of running) one.ended('OK')
    expect(recorder.ends.map(({ outcome }) => outcome)).to.deep.equal([
      'LOCKED_DOWN',
      'LOCKED_DOWN',
    ])
    expect(recorder.events.map(({ kind }) => kind)).to.deep.equal(['lockdown', 'lift', 'policy'])
  })

  it('tells of a lockdown also who listens only after it, as a forward that was dialling', () => {
    const { guard } = guardWith(policy('rules: [{ name: all, callers: ["*"], methods: ["*"] }]'))
    const permit = guard.decide(ask())
    if (!Permit.is(permit)) throw new Error(permit.text)
    guard.lockDown('now')
    const heard: string[] = []
    permit.onWithdrawn = ({ code }) => heard.push(code)
    expect(heard).to.deep.equal(['LOCKED_DOWN'])
  })

  it('stops where nothing can be recorded, if the customer wants it so', () => {
    const { guard, recorder } = guardWith(policy(RULES))
    recorder.mayGoOn = false
    expect(denial(guard, ask()).code).to.equal('RECORD_UNWRITABLE')
  })

  it('ends what another policy does not allow, and lets the rest run', () => {
    const { guard } = guardWith(policy(RULES))
    const ended: string[] = []
    for (const name of ['a.b.Service/Read', 'a.c.Other/Tail'])
      permit(guard, ask({ name, kind: 'serverStream' })).onWithdrawn = () => ended.push(name)
    guard.use(policy('rules: [{ name: less, callers: [billing], methods: [a.b.Service/Read] }]'))
    expect(ended).to.deep.equal(['a.c.Other/Tail'])
  })

  it('observes where told to, for a time, and loosens nothing but rules by it', () => {
    const until = 'observeUntil: "2026-01-01T01:00Z"'
    const { guard, clock, recorder } = guardWith(
      policy(`mode: observe\n${until}\nsealed: { metric: required }\nrules: []`),
    )
    const seen = permit(guard, ask())
    seen.ended('OK')
    expect(recorder.calls[0]?.decision).to.equal('observe')
    expect(guard.observed).to.equal(1)
    for (const no of [
      { type: 'metric' },
      { type: 'task-io' },
      { kind: 'forward', name: 'db', type: 'service-traffic' },
      { type: 'cluster-record', declared: 'metric' },
    ] as const)
      expect(isAllowed(guard, ask(no)), JSON.stringify(no)).to.equal(false)
    clock.advance(3_600_000)
    expect(isAllowed(guard, ask())).to.equal(false)
  })

  it('opens windows by the clock on the wall of a zone, and shuts them once that has jumped', () => {
    const { guard, clock, recorder } = guardWith(
      policy(
        'rules: [{ name: office, callers: ["*"], methods: ["*"], hours: { days: mon-fri, from: "08:00", to: "18:00", zone: Europe/Dublin } }]',
      ),
    )
    // 2026-01-01 is a Thursday; Dublin is at UTC then.
    expect(isAllowed(guard, ask())).to.equal(false)
    clock.advance(9 * 3_600_000)
    expect(isAllowed(guard, ask())).to.equal(true)
    clock.advance(10 * 3_600_000)
    expect(isAllowed(guard, ask())).to.equal(false)
    clock.wallOffsetMs -= 5 * 3_600_000
    expect(isAllowed(guard, ask())).to.equal(false)
    expect(guard.isTimeWrong).to.equal(true)
    expect(recorder.events.map(({ kind }) => kind)).to.deep.equal(['clock'])
    guard.use(guard.policy)
    expect(isAllowed(guard, ask())).to.equal(true)
  })

  it('lets gateways use what is our own, and nothing else, in their own name', () => {
    const { guard, recorder } = guardWith(policy(RULES))
    const own = { ...ask({ name: 'postern.v1.Notices/Tell', type: 'own' }), caller: GATEWAY }
    permit(guard, own).ended('OK')
    const other = { ...ask(), caller: GATEWAY }
    expect(denial(guard, other).code).to.equal('POLICY_DENIED')
    expect(recorder.owns).to.deep.equal([
      'postern.v1.Notices/Tell 0 0 true',
      'a.b.Service/Read 0 0 false',
    ])
  })

  it('remembers a bounded number of callers and names, and decides the same again', () => {
    const { guard } = guardWith(policy(RULES))
    for (let i = 0; i < 25_000; i++)
      expect(isAllowed(guard, ask({ caller: `c-${String(i)}` }))).to.equal(false)
    expect(isAllowed(guard, ask())).to.equal(true)
    expect(isAllowed(guard, ask())).to.equal(true)
  })

  it('writes down one line for a call and two for a stream, with bytes each way', () => {
    const { guard, clock, recorder } = guardWith(policy(RULES))
    const call = permit(guard, ask())
    call.pass('in', 10)
    call.pass('out', 20)
    clock.advance(5)
    call.ended('OK')
    call.ended('INTERNAL')
    expect(recorder.calls).to.have.length(1)
    expect(recorder.calls[0]).to.deep.include({ decision: 'allow', rule: 'reads' })
    expect(recorder.calls[0]?.ended).to.deep.include({
      ...{ outcome: 'OK', bytesIn: 10, bytesOut: 20, durationMs: 5 },
    })
    const stream = permit(guard, ask({ kind: 'serverStream' }))
    expect(recorder.streams).to.have.length(1)
    stream.pass('out', 3)
    stream.ended('CANCELLED')
    expect(recorder.ends[0]).to.deep.include({ stream: 's1', outcome: 'CANCELLED', bytesOut: 3 })
    expect(guard.counts['cluster-record']).to.deep.equal({
      ...{ calls: 2, refused: 0, bytesIn: 10, bytesOut: 23 },
    })
  })

  it('decides again on what the decoded request says that it is about', () => {
    const { guard } = guardWith(
      policy(
        'rules: [{ name: urls, callers: ["*"], methods: ["*"], about: [report] }]\nsealed: { presigned-url: optional }',
      ),
    )
    const data = { ...plainData('presigned-url'), about: ['task-io', 'report'] } as const
    const url = permit(guard, { ...ask(), data })
    expect(url.about('report')).to.equal(undefined)
    for (const no of ['task-io', 'secret', 'code-bundle'] as const)
      expect(url.about(no)?.code).to.equal('POLICY_DENIED')
  })
})

const GATEWAY = { kind: 'gateway', name: 'gw-1' } as const
