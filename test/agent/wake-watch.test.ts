import { expect } from 'chai'
import { WakeWatch } from '../../src/agent/tunnels/wake-watch.ts'
import { FakeClock } from '../support/fake-clock.ts'

const HOUR_MS = 3_600_000

/** A machine that can sleep: the wall clock goes on, the monotonic one does not. */
class SleepyClock extends FakeClock {
  sleptMs = 0
  override wallMs = (): number => this.wallOffsetMs + this.nowMs() + this.sleptMs
}

describe('watching for a wake', () => {
  let clock: SleepyClock
  let addresses: string
  let watch: WakeWatch

  beforeEach(() => {
    clock = new SleepyClock()
    addresses = '192.0.2.1'
    watch = new WakeWatch(clock, () => addresses)
  })

  it('sees nothing in time that merely passes', () => {
    clock.advance(HOUR_MS)
    expect(watch.check()).to.equal(undefined)
  })

  it('sees a resume from sleep, once', () => {
    clock.sleptMs = HOUR_MS
    expect(watch.check()).to.equal('resumed')
    expect(watch.check()).to.equal(undefined)
  })

  it('takes a clock that is slewed by little, or set back, for no sleep', () => {
    clock.sleptMs = 1000
    expect(watch.check()).to.equal(undefined)
    clock.sleptMs = -HOUR_MS
    expect(watch.check()).to.equal(undefined)
    clock.sleptMs = 1000 - HOUR_MS
    expect(watch.check()).to.equal(undefined)
  })

  it('sees other addresses, once, and not that they are gone', () => {
    addresses = ''
    expect(watch.check()).to.equal(undefined)
    addresses = '198.51.100.7'
    expect(watch.check()).to.equal('network')
    expect(watch.check()).to.equal(undefined)
  })

  it('reads the addresses of this machine', () => {
    expect(new WakeWatch(clock).check()).to.equal(undefined)
  })
})
