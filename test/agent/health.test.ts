import { expect } from 'chai'
import { Health, Timeline, type Reason } from '../../src/agent/health/health.ts'
import { FakeClock } from '../support/fake-clock.ts'

describe('the health of an agent', () => {
  it('is judged once a second and at each change; a report changes nothing', () => {
    const clock = new FakeClock()
    const timeline = new Timeline(clock)
    let found: Reason[] = [{ key: 'tunnel 0', text: 'the tunnel is down', isDown: true }]
    let looks = 0
    const reasons = (): Reason[] => {
      looks++
      return found
    }
    const health = new Health({ clock, timeline, reasons, delayMs: 0 })
    expect(health.report().health).to.equal('down')
    expect(looks).to.equal(0)
    health.start()
    found = []
    for (let i = 0; i < 10; i++) health.report()
    expect([health.report().health, looks]).to.deep.equal(['down', 1])
    clock.advance(1000)
    expect([health.report().health, looks]).to.deep.equal(['healthy', 2])
    found = [{ key: 'clock', text: 'our clock is off' }]
    health.judge()
    expect(health.report()).to.deep.include({ health: 'degraded', sinceMs: clock.wallMs() })
    expect(timeline.events.map(({ kind, text }) => `${kind} ${text}`)).to.deep.equal([
      'health healthy',
      'health degraded; our clock is off',
    ])
    health.stop()
    clock.advance(10_000)
    expect(looks).to.equal(3)
  })
})
