import { expect } from 'chai'
import { statusNow } from '../support/status-now.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { eventually } from '../support/eventually.ts'
import { Fleet } from '../support/fleet.ts'

describe('canary calls', function () {
  let fleet: Fleet

  afterEach(() => {
    fleet.stop()
  })

  it('go through every tunnel, and both ends know how long they take', async () => {
    fleet = await Fleet.start(2, { 'canary.interval': '1s' })
    const agent = await fleet.startAgent('a-1')
    const canaries = () =>
      statusNow(agent, systemClock.wallMs()).tunnels.map(({ canary }) => canary)
    await eventually(
      () => canaries().length === 2 && canaries().every((one) => one?.latencyMs),
      'two',
    )
    for (const { gateway } of fleet.gateways) {
      const [tunnel] = gateway.registry.clusters.get('c-1') ?? []
      expect(tunnel?.canary.latencyMs).to.be.within(0.01, 5000)
      expect([
        tunnel?.canary.failures,
        gateway.callers.relayed,
        gateway.callers.report().callers,
      ]).to.deep.equal([0, 0, 0])
    }
    const client = await fleet.connect()
    expect((await client.getCluster('c-1')).tunnels[0]?.canaryMs).to.be.greaterThan(0)
  })

  it('that fail tell of a tunnel that is up and works no more', async () => {
    fleet = await Fleet.start(1, { 'canary.interval': '1s' })
    // Streams are refused for want of places: the session answers pings all the same.
    const agent = await fleet.startAgent('a-1', { 'limits.streamsMax': '1' })
    await eventually(() => agent.canaries.of('gw-1') !== undefined, 'the first has come')
    const client = await fleet.connect()
    const { Diagnostics } = await import('../../src/client.ts')
    const abort = new AbortController()
    const endless = { messages: 1000, messageBytes: 1, intervalMs: 1000 }
    const hold = (async () => {
      const calls = client.cluster('c-1').service(Diagnostics)
      for await (const { payload } of calls.download(endless, { signal: abort.signal }))
        expect(payload.length).to.equal(1)
    })().catch(() => undefined)
    const [tunnel] = fleet.at(0).gateway.registry.clusters.get('c-1') ?? []
    await eventually(() => (tunnel?.canary.failures ?? 0) >= 2, 'they fail')
    expect(fleet.log.find('a canary call failed')?.facts.code).to.equal('STREAM_LIMIT')
    expect(fleet.at(0).gateway.registry.errors.of('c-1')[0]?.text).to.include(
      'a canary call failed',
    )
    abort.abort()
    await hold
    const told = await eventually(() => {
      const { health, reasons } = statusNow(agent, systemClock.wallMs())
      return health === 'degraded' ? reasons.join() : undefined
    }, 'the agent is told')
    expect(told).to.match(/through gateway gw-1: \d+ canary calls failed in a row/)
    await eventually(() => tunnel?.canary.failures === 0, 'they work again')
  })

  it('that take long, or come no more, are reasons', async () => {
    fleet = await Fleet.start(1, { 'canary.interval': '1s' })
    let laterMs = 0
    const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + laterMs }
    const agent = await fleet.startAgent('a-1', { 'health.latency': '1ms' }, { clock })
    const take = (latencyMs: number) => {
      agent.canaries.note('gw-1', { intervalMs: 1000, latencyMs, failures: 0 } as never)
    }
    const status = () => statusNow(agent, clock.wallMs())
    await eventually(() => agent.tunnels.ready.length === 1, 'the tunnel is up')
    take(1234)
    expect(status().reasons.join()).to.include('a call takes 1234 ms there and back')
    take(0.5)
    expect(status().health).to.equal('healthy')
    laterMs = 60_000
    expect(status().health).to.equal('down')
    expect(status().reasons.join()).to.match(/no call has come through for \d+ s/)
  })

  for (const [allow, code] of [
    ['[]', 'POLICY_DENIED'],
    [JSON.stringify([{ caller: '*', methods: ['*'], services: ['*'] }]), 'METHOD_UNKNOWN'],
  ] as const)
    it(`cannot be made by a caller, whatever the policy allows: ${code}`, async () => {
      fleet = await Fleet.start(1)
      const agent = await fleet.startAgent('a-1', { allow })
      await eventually(() => agent.canaries.of('gw-1') !== undefined, 'the first has come')
      const client = await fleet.connect()
      const { Notices } = await import('../../src/gen/postern/v1/tunnel_pb.js')
      const notices = client.cluster('c-1').service(Notices)
      for (const call of [notices.canary({ gateway: 'gw-9' }), notices.tell({ warnings: ['x'] })]) {
        const forged = await call.then(
          () => 'let in',
          (error: unknown) => (error as { code?: string }).code,
        )
        expect(forged).to.equal(code)
      }
      expect(agent.canaries.of('gw-9')).to.equal(undefined)
      expect(agent.notices.warnings).to.deep.equal([])
    })
})
