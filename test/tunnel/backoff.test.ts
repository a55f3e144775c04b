import { expect } from 'chai'
import fc from 'fast-check'
import { backoffMs } from '../../src/tunnel/backoff.ts'

describe('back-off', () => {
  it('is anywhere from nothing to a bound that doubles up to its maximum', () => {
    const fraction = fc.double({ min: 0, max: 0.999, noNaN: true })
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1000 }), fraction, (attempt, chance) => {
        const options = { minMs: 500, maxMs: 60_000 }
        const random = { fraction: () => chance, hex: () => '' }
        const bound = Math.min(60_000, 500 * 2 ** attempt)
        expect(backoffMs(attempt, options, random)).to.be.closeTo(bound * chance, 1e-6)
      }),
    )
  })
})
