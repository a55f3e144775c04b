import { expect } from 'chai'
import { Ways } from '../../src/agent/carriers/ways.ts'
import { PosternError } from '../../src/base/errors.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const REST_MS = 10_000
const ERROR = new PosternError('DIAL_FAILED', 'nobody there')

describe('the ways to the gateways', () => {
  let clock: FakeClock
  let ways: Ways
  beforeEach(() => {
    clock = new FakeClock()
    const names = ['direct', 'cloudflare-dial', 'cloudflare-connector'] as const
    ways = new Ways(names, REST_MS, clock, new SeededRandom(1))
  })

  /** How long the first way rests after a failure. */
  const restMs = (): number => {
    ways.failed('direct', ERROR)
    const startMs = clock.nowMs()
    while (ways.next() !== 'direct') clock.advance(100)
    return clock.nowMs() - startMs
  }

  it('are taken in their order; one that fails rests, and is climbed back to', () => {
    expect(ways.next()).to.equal('direct')
    ways.failed('direct', ERROR)
    expect(ways.next()).to.equal('cloudflare-dial')
    ways.failed('cloudflare-dial', ERROR)
    expect(ways.next()).to.equal('cloudflare-connector')
    ways.worked('cloudflare-connector')
    expect(ways.isOutdone('cloudflare-connector')).to.equal(false)
    clock.advance(REST_MS)
    expect(ways.isOutdone('cloudflare-connector')).to.equal(true)
    expect(ways.next()).to.equal('direct')
    const [direct] = ways.report()
    expect(direct).to.include({ failure: 'DIAL_FAILED: nobody there', restsUntilMs: undefined })
    ways.worked('direct')
    expect(ways.report()[0]?.failure).to.equal(undefined)
    expect(ways.isOutdone('direct')).to.equal(false)
  })

  it('rest for longer after each failure in a row, up to five minutes, also where they work for a moment', () => {
    const rests = Array.from({ length: 12 }, () => {
      const rested = restMs()
      ways.worked('direct')
      clock.advance(1000)
      return rested
    })
    expect(rests[0]).to.be.within(REST_MS / 2, REST_MS + 100)
    for (const rested of rests.slice(8)) expect(rested).to.be.within(150_000, 300_100)
    ways.worked('direct')
    clock.advance(60_000)
    expect(restMs()).to.be.within(REST_MS / 2, REST_MS + 100)
  })

  it('are tried one after the other without waiting, until all rest', () => {
    expect(ways.hasAnother).to.equal(true)
    for (const name of ['direct', 'cloudflare-dial'] as const) {
      ways.failed(name, ERROR)
      expect(ways.hasAnother).to.equal(true)
    }
    ways.failed('cloudflare-connector', ERROR)
    expect(ways.hasAnother).to.equal(false)
    const only = new Ways(['direct'], REST_MS, clock, new SeededRandom(1))
    expect(only.hasAnother).to.equal(false)
  })

  it('are tried all the same where all rest: the one that has rested longest', () => {
    for (const name of ['cloudflare-connector', 'direct', 'cloudflare-dial'] as const) {
      ways.failed(name, ERROR)
      ways.failed(name, ERROR)
    }
    ways.failed('direct', ERROR)
    ways.failed('cloudflare-dial', ERROR)
    expect(ways.next()).to.equal('cloudflare-connector')
  })

  it('leave one out for a tunnel that it is of no use to, where there is another', () => {
    expect(ways.next('direct')).to.equal('cloudflare-dial')
    expect(ways.isOutdone('cloudflare-dial', 'direct')).to.equal(false)
    expect(new Ways(['direct'], REST_MS, clock, new SeededRandom(1)).next('direct')).to.equal(
      'direct',
    )
  })
})
