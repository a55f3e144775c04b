import { expect } from 'chai'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { renewAtMs, retryMs } from '../../src/identity/schedule.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const BACKDATE_MS = 5 * 60_000

describe('the schedule of renewals', () => {
  const life = (serial: string, ms = DAY_MS) => ({
    serial,
    notBeforeMs: -BACKDATE_MS,
    notAfterMs: ms,
  })

  it('lies between 50 and 66 % of a life, the same at every look', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: HOUR_MS, max: 90 * DAY_MS }), (serial, ms) => {
        const at = renewAtMs(life(serial, ms))
        expect(at).to.equal(renewAtMs(life(serial, ms)))
        expect(at / ms).to.be.within(0.5, 0.66)
      }),
    )
  })

  it('spreads a fleet that was made at once', () => {
    const bins = new Array<number>(16).fill(0)
    for (let i = 0; i < 10_000; i++) {
      const part = renewAtMs(life(randomBytes(16).toString('hex'))) / DAY_MS
      const bin = Math.min(15, Math.floor((part - 0.5) * 100))
      bins[bin] = (bins[bin] ?? 0) + 1
    }
    expect(Math.max(...bins)).to.be.lessThan(2 * (10_000 / 16))
  })

  it('retries with growing delays, which shrink as the end nears and never fall below 5 s', () => {
    const delays = [1, 2, 3, 4, 5, 6, 7, 20].map((tries) => retryMs(tries, DAY_MS, 0.999))
    expect(delays).to.deep.equal([...delays].sort((a, b) => a - b))
    expect(delays.at(-1)).to.be.within(250_000, 300_000)
    expect(retryMs(20, 10 * 60_000, 0.999)).to.be.lessThan(31_000)
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: -DAY_MS, max: 90 * DAY_MS }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (tries, remaining, fraction) => {
          expect(retryMs(tries, remaining, fraction)).to.be.within(5000, 300_000)
        },
      ),
    )
  })
})
