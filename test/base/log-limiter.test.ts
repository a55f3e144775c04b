import { expect } from 'chai'
import { LogLimiter } from '../../src/base/log-limiter.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogRecorder } from '../support/log-recorder.ts'

describe('LogLimiter', () => {
  it('writes a burst, then a few a second that count what was left out', () => {
    const log = new LogRecorder()
    const clock = new FakeClock()
    const limiter = new LogLimiter(log, clock, 5, 10)
    for (let i = 0; i < 1000; i++) limiter.warn('a', { code: 'X' }, 'refused')
    expect(log.lines.length).to.equal(10)
    limiter.warn('b', { code: 'Y' }, 'refused')
    expect(log.lines.length).to.equal(11)
    clock.advance(1000)
    for (let i = 0; i < 1000; i++) limiter.warn('a', { code: 'X' }, 'refused')
    expect(log.lines.length).to.equal(16)
    expect(log.lines[11]!.facts).to.deep.equal({ code: 'X', suppressed: 990 })
  })
})
