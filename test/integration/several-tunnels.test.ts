import { expect } from 'chai'
import { statusNow } from '../support/status-now.ts'
import { PosternError } from '../../src/base/errors.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { eventually } from '../support/eventually.ts'
import { Fleet, gatewaysOf, untilWith } from '../support/fleet.ts'

describe('an agent with several gateways', function () {
  let fleet: Fleet

  afterEach(() => {
    fleet.stop()
  })

  it('learns of them from the one that it knows, and keeps a tunnel to each of two', async () => {
    fleet = await Fleet.start(3)
    const agent = await fleet.startAgent('a-1')
    await eventually(() => agent.tunnels.ready.length === 2, 'two tunnels')
    const [first, second] = gatewaysOf(agent)
    expect(first).to.not.equal(second)
    const { health, tunnels, tunnelsWanted } = statusNow(agent, systemClock.wallMs())
    expect([health, tunnels.length, tunnelsWanted]).to.deep.equal(['healthy', 2, 2])
  })

  it('goes to the third when one of its two is gone, and says so meanwhile', async () => {
    fleet = await Fleet.start(3)
    const agent = await fleet.startAgent('a-1', {
      'backoff.min': '500ms',
      'backoff.max': '600ms',
      'health.delay': '0s',
    })
    await eventually(() => agent.tunnels.ready.length === 2, 'two tunnels')
    const [lost = '', kept = ''] = gatewaysOf(agent)
    const third = fleet.gateways
      .map(({ name }) => name)
      .find((name) => ![lost, kept].includes(name))
    fleet.gateways.find(({ name }) => name === lost)?.gateway.stop()
    const degraded = await eventually(() => {
      const status = statusNow(agent, systemClock.wallMs())
      return status.health === 'degraded' ? status : undefined
    }, 'degraded')
    expect(degraded.reasons[0]).to.equal('1 of 2 tunnels is up')
    expect(degraded.tunnel.gateway).to.equal(kept)
    await untilWith(agent, ...[kept, third ?? ''].sort())
  })

  it('keeps one tunnel where two addresses lead to one gateway', async () => {
    fleet = await Fleet.start(1)
    const port = String(fleet.at(0).agentPort)
    const flags = {
      'gateway.addresses': `["127.0.0.1:${port}"]`,
      'gateway.serverName': 'localhost',
    }
    const agent = await fleet.startAgent('a-1', flags)
    await eventually(() => agent.tunnels.wanted === 1, 'it was seen that they are one')
    await untilWith(agent, 'gw-1')
    expect(
      fleet.log.lines.filter(({ level }) => level === 'warn').map(({ facts }) => facts.code),
    ).to.not.include('GATEWAY_HELD')
    expect(statusNow(agent, systemClock.wallMs()).health).to.equal('healthy')
  })

  it('keeps as many as it is told to, where there are so many', async () => {
    fleet = await Fleet.start(3)
    const agent = await fleet.startAgent('a-1', { 'tunnel.count': '3' })
    await untilWith(agent, 'gw-1', 'gw-2', 'gw-3')
    const one = await fleet.startAgent('a-2', { 'tunnel.count': '1' })
    await untilWith(one, 'gw-1')
  })

  it('hears of a gateway that another one was told of by SIGHUP', async () => {
    fleet = await Fleet.start(2)
    const [first, second] = [fleet.at(0), fleet.at(1)]
    first.gateway.stop()
    await fleet.startGateway(first, { peers: '[]' })
    const agent = await fleet.startAgent('a-1')
    await untilWith(agent, 'gw-1')
    const peer = {
      gateway: 'gw-2',
      zone: '',
      address: { host: 'localhost', port: second.agentPort },
    }
    first.gateway.reload({ ...first.gateway.settings, peers: [peer] })
    await agent.tunnels.replace()
    await untilWith(agent, 'gw-1', 'gw-2')
  })

  it('prefers gateways in different zones', async () => {
    fleet = await Fleet.start(3)
    const [a, b, c] = fleet.gateways.map(({ agentPort }) => `localhost:${String(agentPort)}`)
    for (const one of fleet.gateways) one.gateway.stop()
    const place = (gateway: string, address = '', zone = '') => ({ gateway, address, zone })
    const all = [place('gw-1', a, 'z-1'), place('gw-2', b, 'z-1'), place('gw-3', c, 'z-2')]
    for (const [index, one] of fleet.gateways.entries())
      await fleet.startGateway(one, {
        zone: all[index]?.zone ?? '',
        peers: JSON.stringify(all.filter(({ gateway }) => gateway !== one.name)),
      })
    const agent = await fleet.startAgent('a-1')
    await untilWith(agent, 'gw-1', 'gw-3')
  })

  it('a dial for a further tunnel that comes to the same gateway is refused with GATEWAY_HELD', async () => {
    fleet = await Fleet.start(1)
    const agent = await fleet.startAgent('a-1')
    await untilWith(agent, 'gw-1')
    const held = () => [{ gateway: 'gw-1', zone: '' }]
    const error = await agent.tunnels.dialer.dial({ held }, new AbortController().signal).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).to.be.instanceOf(PosternError).and.to.include({ code: 'GATEWAY_HELD' })
  })
})
