import { expect } from 'chai'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'

/** The longest wait that full jitter can come to: whatever is sooner, was hurried. */
const PATIENT = { 'backoff.min': '1m', 'backoff.max': '1h' }
const LONGEST = { ...systemRandom, fraction: () => 0.999 }

describe('dialling again', function () {
  let plane: ControlPlane

  beforeEach(async () => {
    plane = await ControlPlane.start()
  })
  afterEach(() => {
    plane.stop()
  })

  it('happens at once when the machine resumes from sleep', async () => {
    await plane.enroll('a-1')
    let sleptMs = 0
    const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + sleptMs }
    const { sameAddresses } = plane
    const agent = plane.startAgent('a-1', PATIENT, { clock, random: LONGEST })
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
    plane.gateway.stop()
    await eventually(() => agent.tunnel.state.name === 'backoff', 'the agent waits')
    await plane.startGateway(sameAddresses)
    sleptMs = 20_000
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up again')
    const logged = plane.agentLog.find('the machine woke up or moved: dialling at once')
    expect(logged?.facts.wake).to.equal('resumed')
  })

  it('of a tunnel that slept leaves it for a fresh one', async () => {
    await plane.enroll('a-1')
    let sleptMs = 0
    const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + sleptMs }
    const agent = plane.startAgent('a-1', {}, { clock })
    const connection = () => {
      const { state } = agent.tunnel
      return state.name === 'ready' ? state.connection : undefined
    }
    await eventually(() => connection() !== undefined, 'the tunnel is up')
    const first = connection()
    sleptMs = 20_000
    await eventually(() => connection() !== undefined && connection() !== first, 'it was replaced')
  })

  it('from a gateway that drains is spread out at the rate it asks for', async () => {
    const names = ['a-1', 'a-2', 'a-3', 'a-4']
    plane.gateway.stop()
    await plane.startGateway({ ...plane.sameAddresses, 'drain.reconnectRate': '2' })
    for (const name of names) await plane.enroll(name)
    // Nothing of their own spreads them: their back-off ends at once.
    const eager = { ...systemRandom, fraction: () => 0 }
    const agents = names.map((name) =>
      plane.startAgent(name, { 'backoff.max': '1m' }, { random: eager }),
    )
    for (const { tunnel } of agents)
      await eventually(() => tunnel.state.name === 'ready', 'the tunnel is up')
    const delaysMs: number[] = []
    const waits = agents.map(({ tunnel }) =>
      eventually(() => {
        if (tunnel.state.name === 'backoff') delaysMs.push(tunnel.state.delayMs)
        return tunnel.state.name === 'backoff'
      }, 'the agent waits'),
    )
    await plane.gateway.drain()
    await Promise.all(waits)
    expect(delaysMs.sort((a, b) => a - b).slice(1)).to.deep.equal([500, 1000, 1500])
  })
})
