import { expect } from 'chai'
import { CallRecord } from '../../src/gateway/clusters/call-record.ts'
import {
  isTunnel,
  Registry,
  type AgentTunnel,
  type Wanted,
} from '../../src/gateway/clusters/registry.ts'

interface Fake {
  readonly agent: string
  readonly rttMs?: number
  readonly streams?: number
  readonly isOpen?: boolean
  readonly services?: readonly string[]
  readonly notAfterMs?: number
}

function fake(of: Fake): AgentTunnel {
  const { agent, rttMs, streams = 0, isOpen = true, services = [], notAfterMs = 1 } = of
  const connection = {
    session: { isOpen, streamCount: streams, rttMs },
    facts: { certificateNotAfterMs: notAfterMs },
  }
  const hello = { methodNames: new Set(['s.S/M']), serviceNames: new Set(services) }
  const record = new CallRecord()
  return { cluster: 'c', agent, connection, hello, record, relays: new Map() } as never
}

const CALL: Wanted = { cluster: 'c', name: 's.S/M', kind: 1, nowMs: 0 }

function registryOf(...tunnels: readonly AgentTunnel[]): Registry {
  const registry = new Registry()
  for (const tunnel of tunnels) registry.add(tunnel)
  return registry
}

function picked(registry: Registry, wanted: Partial<Wanted> = {}): string {
  const found = registry.pick({ ...CALL, ...wanted })
  return isTunnel(found) ? found.agent : found.code
}

describe('the choice among the tunnels of a cluster', () => {
  it('takes turns where all are equal, and where round trips differ by chance alone', () => {
    const registry = registryOf(fake({ agent: 'a', rttMs: 0.2 }), fake({ agent: 'b', rttMs: 1.9 }))
    const counts = { a: 0, b: 0 }
    for (let i = 0; i < 100; i++) counts[picked(registry) as 'a' | 'b']++
    expect(counts).to.deep.equal({ a: 50, b: 50 })
  })

  it('weighs streams that run by the round trip', () => {
    const near = { agent: 'near', rttMs: 10 }
    const far = fake({ agent: 'far', rttMs: 100 })
    expect(picked(registryOf(fake({ ...near, streams: 5 }), far))).to.equal('near')
    expect(picked(registryOf(fake({ ...near, streams: 20 }), far))).to.equal('far')
  })

  it('goes to those that offer what is called', () => {
    const registry = registryOf(
      fake({ agent: 'without' }),
      fake({ agent: 'with', services: ['db'], rttMs: 500 }),
    )
    for (let i = 0; i < 4; i++) expect(picked(registry, { name: 'db', kind: 5 })).to.equal('with')
  })

  it('leaves out what is closed, was tried, or stands on an older certificate', () => {
    const tried = fake({ agent: 'tried' })
    const registry = registryOf(
      tried,
      fake({ agent: 'closed', isOpen: false }),
      fake({ agent: 'x', notAfterMs: 1 }),
      fake({ agent: 'x', notAfterMs: 2, rttMs: 300 }),
    )
    const found = registry.pick({ ...CALL, tried: [tried] })
    expect(isTunnel(found) && found.connection.session.rttMs).to.equal(300)
    expect(picked(registryOf(tried), { tried: [tried] })).to.equal('CLUSTER_UNKNOWN')
  })

  it('leaves out for a while one on which calls fail again and again, unless it is the only one', () => {
    const bad = fake({ agent: 'bad' })
    const good = fake({ agent: 'good', rttMs: 900 })
    const registry = registryOf(bad, good)
    for (let i = 0; i < 4; i++) bad.record.failed(0)
    expect(picked(registry)).to.equal('bad')
    bad.record.failed(0)
    expect([picked(registry), picked(registry, { nowMs: 9999 })]).to.deep.equal(['good', 'good'])
    expect(picked(registry, { nowMs: 10_000 })).to.equal('bad')
    for (let i = 0; i < 5; i++) bad.record.failed(10_000)
    expect(picked(registry, { nowMs: 29_999 })).to.equal('good')
    expect(picked(registry, { nowMs: 30_000 })).to.equal('bad')
    for (let i = 0; i < 5; i++) good.record.failed(30_000)
    for (let i = 0; i < 5; i++) bad.record.failed(30_000)
    expect(picked(registry, { nowMs: 30_001 })).to.equal('bad')
  })

  it('forgets failures with each call that is answered', () => {
    const record = new CallRecord()
    for (let i = 0; i < 20; i++) {
      for (let n = 0; n < 4; n++) record.failed(0)
      record.succeeded()
    }
    expect(record.isEjected(1)).to.equal(false)
  })
})
