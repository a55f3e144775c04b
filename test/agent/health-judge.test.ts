import { expect } from 'chai'
import { HealthJudge } from '../../src/agent/health/judge.ts'
import { Timeline } from '../../src/agent/health/timeline.ts'
import { FakeClock } from '../support/fake-clock.ts'

const DOWN = { key: 'tunnel 0', text: 'the tunnel is down', isDown: true, isDelayed: true }
const CLOCK = { key: 'clock', text: 'our clock is off' }

describe('the health of an agent', () => {
  it('does not change for a blip, and does for what lasts, with since when', () => {
    const judge = new HealthJudge(3000, 0)
    expect(judge.update([], 1000).health).to.equal('healthy')
    expect(judge.update([DOWN], 2000).health).to.equal('healthy')
    expect(judge.update([], 4000).health).to.equal('healthy')
    expect(judge.update([DOWN], 5000)).to.deep.equal({
      health: 'healthy',
      sinceMs: 1000,
      reasons: [],
    })
    expect(judge.update([{ ...DOWN, text: 'still down' }], 8000)).to.deep.equal({
      health: 'down',
      sinceMs: 8000,
      reasons: [{ text: 'still down', sinceMs: 5000 }],
    })
    expect(judge.update([DOWN], 9000)).to.include({ health: 'down', sinceMs: 8000 })
    expect(judge.update([], 10_000)).to.include({ health: 'healthy', sinceMs: 10_000 })
  })

  it('is degraded at once for what does not come and go', () => {
    const judge = new HealthJudge(3000, 0)
    expect(judge.update([CLOCK], 1000)).to.deep.equal({
      health: 'degraded',
      sinceMs: 1000,
      reasons: [{ text: CLOCK.text, sinceMs: 1000 }],
    })
    expect(judge.update([CLOCK, { ...DOWN, isDelayed: false }], 1500).health).to.equal('down')
  })
})

describe('the timeline of an agent', () => {
  const clock = new FakeClock()

  it('keeps the last events, in words that cannot steer a terminal', () => {
    const timeline = new Timeline(clock)
    for (let i = 0; i < 150; i++) timeline.note('tunnel-down', `${String(i)}\u001b[2J`)
    expect(timeline.events.length).to.equal(100)
    expect(timeline.events[0]?.text).to.match(/^50/).and.not.include('\u001b')
  })

  it('takes a repeated event for one', () => {
    const timeline = new Timeline(clock)
    for (let i = 0; i < 9; i++) timeline.note('tunnel-down', 'DIAL_FAILED: refused')
    expect(timeline.events.length).to.equal(1)
  })

  it('goes on from an earlier run, and from a file that somebody has spoilt', () => {
    const timeline = new Timeline(clock)
    timeline.note('started', 'now')
    timeline.restore([
      { at: '2026-01-01T03:12:00.000Z', kind: 'tunnel-down', text: 'why' },
      { at: 'never', kind: 'tunnel-down', text: 'x' },
      { at: '2026-01-01T03:12:00.000Z', kind: 'unheard-of', text: 'x' },
      { at: '2026-01-01T03:12:00.000Z', kind: 'health', text: { toString: 1 } },
      null,
      7,
    ])
    expect(timeline.events.map(({ text }) => text)).to.deep.equal(['why', 'now'])
  })
})
