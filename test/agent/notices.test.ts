import { expect } from 'chai'
import { CANARY_FEATURE } from '../../src/contract/features.ts'
import { Canaries, canaryReasons } from '../../src/agent/notices/notices.ts'
import type { Tunnels } from '../../src/agent/tunnels/tunnels.ts'
import type { CanaryRequest } from '../../src/gen/postern/v1/tunnel_pb.js'
import { FakeClock } from '../support/fake-clock.ts'

const call = (fields: object): CanaryRequest =>
  ({ failures: 0, intervalMs: 1000, ...fields }) as unknown as CanaryRequest

function upTo(...gateways: string[]): Tunnels {
  const ready = gateways.map((gateway) => ({
    welcome: { gateway, features: [CANARY_FEATURE] },
    sinceWallMs: 0,
  }))
  return { ready } as unknown as Tunnels
}

describe('the canary calls that gateways send', () => {
  it('are kept for a bounded number of gateways, the latest of each', () => {
    const canaries = new Canaries(new FakeClock())
    for (let i = 0; i < 40; i++) canaries.note(`g-${String(i)}`, call({}))
    canaries.note('g-39', call({ latencyMs: 7 }))
    expect(canaries.all.size).to.equal(16)
    expect(canaries.of('g-39')?.latencyMs).to.equal(7)
    expect(canaries.of('g-0')).to.equal(undefined)
  })

  it('cannot set an interval that would never, or always, count as missed', () => {
    const canaries = new Canaries(new FakeClock())
    canaries.note('g', call({ intervalMs: 0 }))
    expect(canaries.of('g')?.intervalMs).to.equal(1000)
    canaries.note('g', call({ latencyMs: NaN }))
    expect(canaries.of('g')?.latencyMs).to.equal(undefined)
    canaries.note('g', call({ intervalMs: 2 ** 31 }))
    expect(canaries.of('g')?.intervalMs).to.equal(300_000)
  })

  it('are missed where none comes: the agent is down only when that is so of every tunnel', () => {
    const clock = new FakeClock()
    const canaries = new Canaries(clock)
    const feature = upTo('a', 'b')
    canaries.note('a', call({}))
    const at = (ms: number) => canaryReasons(feature, canaries, 100, clock.wallMs() + ms)
    expect(at(60_000).map(({ isDown }) => isDown)).to.deep.equal([true, true])
    clock.advance(60_000)
    canaries.note('a', call({}))
    expect(at(0).map(({ isDown }) => isDown)).to.deep.equal([false])
  })
})
