import { refuseStreams } from '../../src/mux/session-owner.ts'
import { expect } from 'chai'
import { silentLogger } from '../../src/base/logger.ts'
import { Lifecycle, type TunnelState } from '../../src/tunnel/lifecycle.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { Tunnel } from '../../src/tunnel/tunnel.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const SETTINGS = {
  'tunnel.pingInterval': 15_000,
  'tunnel.silence': 45_000,
  'limits.windowBytesMax': 1 << 20,
  'limits.sessionWindowBytesMax': 1 << 22,
  'rpc.messageBytesMax': 1 << 20,
}

describe('the life of a tunnel', () => {
  it('drains from any state, as the diagram says, and asserts every step that it lacks', () => {
    const steps: Readonly<Record<string, readonly string[]>> = {
      idle: ['connecting', 'draining', 'closed'],
      draining: ['closed'],
      closed: [],
    }
    for (const [from, allowed] of Object.entries(steps))
      for (const to of ['idle', 'connecting', 'draining', 'closed']) {
        const lifecycle = new Lifecycle(() => undefined)
        if (from !== 'idle') lifecycle.enter({ name: from } as TunnelState)
        const step = (): void => {
          lifecycle.enter({ name: to } as TunnelState)
        }
        if (allowed.includes(to)) expect(step, `${from} -> ${to}`).not.to.throw()
        else expect(step, `${from} -> ${to}`).to.throw(/illegal transition/)
      }
  })

  it('ends in good order where it was never started', async () => {
    const clock = new FakeClock()
    const ambient = { clock, random: new SeededRandom(1), logger: silentLogger }
    const never = (): Promise<never> => Promise.reject(new Error('nobody dials'))
    const tunnel = new Tunnel({
      process: processParts(SETTINGS, ambient),
      logger: silentLogger,
      backoff: { minMs: 1, maxMs: 2 },
      dialTimeoutMs: 1000,
      stableMs: 1000,
      dial: never,
      register: never,
      onUp: () => undefined,
      onDown: () => undefined,
      streamsOf: () => refuseStreams(''),
    })
    await tunnel.drain(1000)
    expect(tunnel.state.name).to.equal('closed')
  })
})
