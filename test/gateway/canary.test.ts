import { exempt } from '../../src/guard/exempt.ts'
import { expect } from 'chai'
import { silentLogger } from '../../src/base/logger.ts'
import { CANARY_FEATURE } from '../../src/contract/features.ts'
import { Canary } from '../../src/gateway/agents/canary.ts'
import { CallRecord, Registry, type AgentTunnel } from '../../src/gateway/clusters/clusters.ts'
import { Notices } from '../../src/gen/postern/v1/tunnel_pb.js'
import { RpcServer } from '../../src/rpc/server.ts'
import { offersOf } from '../../src/rpc/typed.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { RpcConnection, type PeerWire } from '../../src/tunnel/rpc-connection.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { passTime } from '../support/pass-time.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const SETTINGS = {
  'tunnel.pingInterval': 15_000,
  'tunnel.silence': 45_000,
  'limits.windowBytesMax': 1 << 20,
  'limits.sessionWindowBytesMax': 1 << 22,
  'rpc.messageBytesMax': 1 << 20,
}
const IDENTITY = { role: 'gateway', trustDomain: 't', region: 'r', gateway: 'g' } as const
const INTERVAL_MS = 10_000

describe('canary calls', () => {
  /** A canary whose calls are answered here, where callers' calls would be relayed. */
  function setUp(answer: () => object) {
    const clock = new FakeClock()
    const parts = processParts(SETTINGS, {
      clock,
      random: new SeededRandom(1),
      logger: silentLogger,
    })
    const registry = new Registry()
    const server = new RpcServer(parts.runtime, exempt('gateway to callers'))
    const marked: string[] = []
    let tunnelOf: (mark: string) => AgentTunnel | undefined = () => undefined
    const canary = (_request: unknown, { traceparent }: { traceparent: string }) => {
      marked.push(tunnelOf(traceparent)?.agent ?? 'nobody')
      return answer()
    }
    const tell = () => ({})
    for (const offer of offersOf(Notices, { canary, tell, narrow: tell, describe: tell }))
      server.offer(offer)
    const acceptOwn = (wire: PeerWire, of: typeof tunnelOf): void => {
      tunnelOf = of
      const streams = server.streamsOf({ callerOf: () => ({ kind: 'connection', key: '1' }) })
      new RpcConnection(wire, 'acceptor', parts, { streams, onClosed: () => undefined })
    }
    const canaries = new Canary({
      parts,
      registry,
      identity: IDENTITY,
      logger: silentLogger,
      intervalMs: INTERVAL_MS,
      callers: { acceptOwn },
    })
    const tunnel = (agent: string, features: string[]): AgentTunnel => {
      const session = { isOpen: true }
      const made = {
        cluster: 'c',
        agent,
        connection: { session, facts: { certificateNotAfterMs: 0 } },
        hello: { features: new Set(features) },
        record: new CallRecord(),
        canary: { latencyMs: undefined, failures: 0 },
      } as unknown as AgentTunnel
      registry.add(made)
      return made
    }
    return { clock, registry, canaries, marked, tunnel }
  }

  it('go through each tunnel by its own mark, at once and then at intervals', async () => {
    const { clock, canaries, marked, tunnel } = setUp(() => ({}))
    canaries.watch(tunnel('a', [CANARY_FEATURE]))
    canaries.watch(tunnel('b', [CANARY_FEATURE]))
    canaries.watch(tunnel('old', []))
    await passTime(clock, 10)
    expect([...marked].sort()).to.deep.equal(['a', 'b'])
    await passTime(clock, INTERVAL_MS)
    expect([...marked].sort()).to.deep.equal(['a', 'a', 'b', 'b'])
    canaries.stop()
    await passTime(clock, 3 * INTERVAL_MS)
    expect(marked.length).to.equal(4)
  })

  it('count their failures in a row, and leave a tunnel that has gone in peace', async () => {
    let isBroken = true
    const { clock, registry, canaries, marked, tunnel } = setUp(() => {
      if (isBroken) throw new Error('it does not answer')
      return {}
    })
    const one = tunnel('a', [CANARY_FEATURE])
    canaries.watch(one)
    await passTime(clock, 2 * INTERVAL_MS)
    expect(one.canary.failures).to.be.within(2, 3)
    isBroken = false
    await passTime(clock, INTERVAL_MS)
    expect(one.canary.failures).to.equal(0)
    expect(one.canary.latencyMs).to.be.at.least(0)
    registry.remove('c', one.connection)
    canaries.unwatch(one)
    const before = marked.length
    await passTime(clock, 3 * INTERVAL_MS)
    expect(marked.length).to.equal(before)
    canaries.stop()
  })
})
