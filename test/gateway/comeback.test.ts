import { expect } from 'chai'
import { comebackMs } from '../../src/gateway/agents/comeback.ts'

/** How many come back in each second. */
function curve(count: number, perSecond: number): number[] {
  const seconds: number[] = []
  for (let index = 0; index < count; index++) {
    const second = Math.floor(comebackMs(index, count, perSecond) / 1000)
    seconds[second] = (seconds[second] ?? 0) + 1
  }
  return seconds
}

describe('the comeback of agents from a gateway that drains', () => {
  it('is at once for a single one', () => {
    expect(comebackMs(0, 1, 100)).to.equal(0)
  })

  it('of 2000 is at the rate, without a spike', () => {
    expect(curve(2000, 100)).to.deep.equal(Array(20).fill(100))
  })

  it('takes a minute at most, however many they are', () => {
    const seconds = curve(60_000, 100)
    expect(seconds).to.have.length(60)
    expect(Math.max(...seconds)).to.be.at.most(1001)
  })
})
