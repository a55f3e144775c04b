import { expect } from 'chai'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'

/** The longest wait that full jitter can come to: whatever is sooner, was hurried. */
const PATIENT = { 'backoff.min': '1m', 'backoff.max': '1h' }
const LONGEST = { ...systemRandom, fraction: () => 0.999 }

describe('dialling again', function () {
  this.timeout(30_000)
  let plane: ControlPlane

  beforeEach(async () => {
    plane = await ControlPlane.start()
  })
  afterEach(() => {
    plane.stop()
  })

  it('happens at once when the machine resumes from sleep', async () => {
    await plane.enrol('a-1')
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
    await plane.enrol('a-1')
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
})
