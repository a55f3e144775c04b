import { refuseStreams } from '../../src/mux/session-owner.ts'
import { LETS_ALL_IN } from '../../src/gateway/access/access.ts'
import { expect } from 'chai'
import { PosternError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { AgentSide } from '../../src/gateway/agents/agent-side.ts'
import { PeerShares } from '../../src/gateway/access/peer-shares.ts'
import { Registry } from '../../src/gateway/clusters/registry.ts'
import { Admission } from '../../src/gateway/agents/admission.ts'
import { Tunnel as TunnelService } from '../../src/gen/postern/v1/tunnel_pb.js'
import { clientOf } from '../../src/rpc/typed.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { Tunnel } from '../../src/tunnel/tunnel.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { connect } from './network.ts'

const GATEWAY = { role: 'gateway', trustDomain: 'sim.test', region: 'r', gateway: 'g' } as const
const AGENTS = 2000
const PER_SECOND = 200
const BURST = 400
const SETTINGS = {
  'tunnel.pingInterval': 10_000,
  'tunnel.silence': 20_000,
  'limits.windowBytesMax': 1024 * 1024,
  'limits.sessionWindowBytesMax': 4 * 1024 * 1024,
  'limits.bufferBytesMax': 2 ** 31,
  'rpc.messageBytesMax': 512 * 1024,
}
const QUIET = { delayMs: 25, stall: 0, cut: 0, pieceBytesMax: 100_000 }

/** 2 000 agents and one gateway that can be lost, on one virtual clock. */
class Storm {
  readonly clock = new FakeClock()
  readonly random: SeededRandom
  readonly tunnels: Tunnel[] = []
  /** When each registration came. */
  readonly registeredAtMs: number[] = []
  dials = 0
  #side: AgentSide | undefined

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
    const ambient = { clock: this.clock, random: this.random, logger: silentLogger }
    const parts = processParts(SETTINGS, ambient)
    for (let i = 0; i < AGENTS; i++) this.tunnels.push(this.#tunnel(`a-${String(i)}`, parts))
  }

  get readyCount(): number {
    return this.tunnels.filter(({ state }) => state.name === 'ready').length
  }

  startGateway(): void {
    const ambient = { clock: this.clock, random: this.random, logger: silentLogger }
    const parts = processParts(SETTINGS, ambient)
    const shares = new PeerShares({ whole: parts.budget, fraction: 1, connectionsMax: 100 })
    this.#side = new AgentSide({
      parts,
      registry: new Registry(),
      shares,
      identity: GATEWAY,
      zone: '',
      admission: new Admission(PER_SECOND, BURST),
      logger: silentLogger,
      registerTimeoutMs: 5000,
      issuer: undefined,
      gatekeeper: LETS_ALL_IN,
    })
    this.#side.registered.add(() => this.registeredAtMs.push(this.clock.nowMs()))
  }

  /** As when its process is killed. */
  loseGateway(): void {
    const side = this.#side
    this.#side = undefined
    for (const { session } of [...(side?.connections ?? [])])
      session.lose(new PosternError('CONNECTION_LOST', 'killed'))
    for (const { connections } of this.tunnels)
      for (const { session } of connections)
        session.lose(new PosternError('CONNECTION_LOST', 'killed'))
  }

  async run(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 10) {
      this.clock.advance(10)
      await new Promise((resolve) => setImmediate(resolve))
      this.clock.runSoon()
    }
  }

  #tunnel(agent: string, parts: ReturnType<typeof processParts>): Tunnel {
    const identity = { role: 'agent', trustDomain: 'sim.test', cluster: 'c', agent } as const
    return new Tunnel({
      process: parts,
      logger: silentLogger,
      backoff: { minMs: 500, maxMs: 60_000 },
      dialTimeoutMs: 10_000,
      stableMs: 60_000,
      dial: () => {
        this.dials++
        const side = this.#side
        if (side === undefined) return Promise.reject(new PosternError('DIAL_FAILED', 'refused'))
        const pair = connect(this.clock, this.random, QUIET, { near: identity, far: GATEWAY })
        side.accept(pair.far)
        return Promise.resolve(pair.near)
      },
      register: async (connection) => {
        const client = clientOf(TunnelService, connection.channel())
        return await client.register({ cluster: 'c', agent }, { timeoutMs: 5000 })
      },
      streamsOf: () => refuseStreams(''),
    })
  }
}

/** The most of the times that lie within any one second. */
function mostInASecond(timesMs: readonly number[]): number {
  let most = 0
  for (let from = 0, to = 0; to < timesMs.length; to++) {
    while ((timesMs[to] ?? 0) - (timesMs[from] ?? 0) >= 1000) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}

describe('2 000 agents that lose their gateway', function () {
  this.timeout(0)

  for (const seed of [1, 2, 3])
    it(`come back at the rate of admission, all of them (seed ${String(seed)})`, async () => {
      const storm = new Storm(seed)
      storm.startGateway()
      for (const tunnel of storm.tunnels) tunnel.start()
      await storm.run(12_000)
      expect(storm.readyCount).to.equal(AGENTS)
      storm.loseGateway()
      // A short loss is the worst: nobody has backed off yet.
      await storm.run(300)
      storm.registeredAtMs.length = 0
      storm.dials = 0
      storm.startGateway()
      const beganAtMs = storm.clock.nowMs()
      await storm.run(15_000)
      expect(storm.readyCount).to.equal(AGENTS)
      const times = storm.registeredAtMs
      expect(times.length).to.equal(AGENTS)
      expect((times.at(-1) ?? 0) - beganAtMs).to.be.lessThan(12_000)
      // The burst once; then the rate, give or take the half second of jitter that each adds.
      const afterBurst = times.filter((time) => time >= beganAtMs + 1500)
      expect(mostInASecond(times)).to.be.at.most(BURST + 2 * PER_SECOND)
      expect(mostInASecond(afterBurst)).to.be.at.most(PER_SECOND * 1.5)
      // Each is told its time once, rather than knocking again and again.
      expect(storm.dials).to.be.at.most(AGENTS * 2.2)
      for (const tunnel of storm.tunnels) tunnel.stop()
    })
})
