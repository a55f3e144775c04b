import { expect } from 'chai'
import { every } from '../../src/base/every.ts'
import { Listeners } from '../../src/base/listeners.ts'
import { FakeClock } from '../support/fake-clock.ts'

describe('events of a room', () => {
  it('reach all listeners in order, also when one adds another or tells again', () => {
    const listeners = new Listeners<number>()
    const heard: string[] = []
    listeners.add((n) => {
      heard.push(`a${String(n)}`)
      if (n === 1) listeners.tell(2)
    })
    listeners.add((n) => heard.push(`b${String(n)}`))
    listeners.tell(1)
    expect(heard).to.deep.equal(['a1', 'a2', 'b2', 'b1'])
    new Listeners().tell()
  })
})

describe('acting again and again', () => {
  it('goes on though one time fails, follows the interval, and stops for good', () => {
    const clock = new FakeClock()
    let [intervalMs, times] = [100, 0]
    const cancel = every(
      clock,
      () => intervalMs,
      () => {
        times++
        if (times === 1) throw new RangeError('once')
      },
    )
    expect(() => {
      clock.advance(100)
    }).to.throw(RangeError)
    clock.advance(100)
    expect(times).to.equal(2)
    intervalMs = 1000
    // The next one was armed before.
    clock.advance(100)
    clock.advance(900)
    expect(times).to.equal(3)
    clock.advance(100)
    expect(times).to.equal(4)
    cancel()
    clock.advance(10_000)
    expect(times).to.equal(4)
    expect(clock.timerCount).to.equal(0)
  })
})
