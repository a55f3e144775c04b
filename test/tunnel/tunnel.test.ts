import { exempt } from '../../src/guard/exempt.ts'
import { expect } from 'chai'
import { PosternError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { Tunnel as TunnelService } from '../../src/gen/postern/v1/tunnel_pb.js'
import { refuseStreams } from '../../src/mux/session-owner.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import { clientOf, offersOf } from '../../src/rpc/typed.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { RpcConnection, type PeerWire } from '../../src/tunnel/rpc-connection.ts'
import { Tunnel } from '../../src/tunnel/tunnel.ts'
import { connect } from '../simulation/network.ts'
import { rejection } from '../support/code-of.ts'
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
const QUIET = { delayMs: 1, stall: 0, cut: 0, pieceBytesMax: 1 << 20 }
const AGENT = { role: 'agent', trustDomain: 'test', cluster: 'c', agent: 'a' } as const
const GATEWAY = { role: 'gateway', trustDomain: 'test', region: 'r', gateway: 'g' } as const

/** A tunnel and the gateway that it dials, on one clock. */
class Scene {
  readonly clock = new FakeClock()
  readonly accepted: RpcConnection[] = []
  /** Why the gateway refuses whoever registers; undefined: it does not. */
  refusal: PosternError | undefined
  /** Dials end only when they are told to. */
  holdsDials = false
  readonly held: (() => PeerWire)[] = []
  readonly #parts = processParts(SETTINGS, {
    clock: this.clock,
    random: new SeededRandom(1),
    logger: silentLogger,
  })
  readonly tunnel = new Tunnel({
    process: this.#parts,
    logger: silentLogger,
    backoff: { minMs: 1000, maxMs: 60_000 },
    dialTimeoutMs: 5000,
    stableMs: 10_000,
    dial: () => {
      if (!this.holdsDials) return Promise.resolve(this.#dialled())
      return new Promise((resolve) => {
        this.held.push(() => {
          const wire = this.#dialled()
          resolve(wire)
          return wire
        })
      })
    },
    register: (connection) =>
      clientOf(TunnelService, connection.channel()).register({ cluster: 'c', agent: 'a' }),
    streamsOf: () => refuseStreams(''),
  })

  async pass(ms: number): Promise<void> {
    await passTime(this.clock, ms)
  }

  #dialled(): PeerWire {
    const ids = { near: AGENT, far: GATEWAY }
    const { near, far } = connect(this.clock, new SeededRandom(2), QUIET, ids)
    const server = new RpcServer(this.#parts.runtime, exempt('gateway to callers'))
    const register = () => {
      if (this.refusal !== undefined) this.accepted.at(-1)?.close(this.refusal)
      return { gateway: 'g' }
    }
    const nothing = () => ({})
    const service = { register, renew: nothing, heartbeat: nothing, notify: nothing }
    for (const offer of offersOf(TunnelService, service as never)) server.offer(offer)
    const streams = server.streamsOf({ callerOf: () => ({ kind: 'connection', key: '1' }) })
    const onClosed = () => undefined
    this.accepted.push(new RpcConnection(far, 'acceptor', this.#parts, { streams, onClosed }))
    return near
  }
}

describe('Tunnel', () => {
  it('says of a second connection that was refused why the gateway refused it, and keeps the first', async () => {
    const { tunnel, ...scene } = setUp()
    tunnel.start()
    await scene.pass(100)
    const before = tunnel.state
    expect(before.name).to.equal('ready')
    scene.own.refusal = new PosternError('IDENTITY_REVOKED', 'it was stolen')
    const replaced = rejection(tunnel.replace(), 'IDENTITY_REVOKED')
    await scene.pass(100)
    await replaced
    expect(tunnel.state).to.equal(before)
    tunnel.stop()
  })

  it('closes a connection that comes after it was stopped', async () => {
    const { tunnel, ...scene } = setUp()
    scene.own.holdsDials = true
    tunnel.start()
    await scene.pass(10)
    tunnel.stop()
    scene.own.held[0]?.()
    await scene.pass(50)
    expect(scene.own.accepted.map(({ session }) => session.isOpen)).to.deep.equal([false])
    expect(tunnel.state.name).to.equal('closed')
  })

  it('gives up a dial that takes too long, and waits before the next', async () => {
    const { tunnel, ...scene } = setUp()
    scene.own.holdsDials = true
    tunnel.start()
    await scene.pass(5010)
    expect(tunnel.state.name).to.equal('backoff')
    expect(tunnel.lastError?.code).to.equal('DIAL_TIMEOUT')
    scene.own.holdsDials = false
    tunnel.hurry()
    await scene.pass(50)
    expect(tunnel.state.name).to.equal('ready')
    tunnel.stop()
  })

  it('dials anew when the gateway goes, and lets the old connection finish', async () => {
    const { tunnel, ...scene } = setUp()
    tunnel.start()
    await scene.pass(100)
    const [first] = scene.own.accepted
    first?.session.goAway('SHUTDOWN', 'bye')
    await scene.pass(10)
    expect(tunnel.state.name).to.equal('backoff')
    expect(tunnel.lastError?.code).to.equal('GOING_AWAY')
    await scene.pass(4100)
    expect(tunnel.state.name).to.equal('ready')
    expect(scene.own.accepted.length).to.equal(2)
    tunnel.stop()
  })

  it('waits at the slowest pace where the gateway says that it never lets us in', async () => {
    const { tunnel, ...scene } = setUp()
    scene.own.refusal = new PosternError('IDENTITY_REVOKED', 'it was stolen')
    tunnel.start()
    await scene.pass(100)
    const { state } = tunnel
    expect(state.name === 'backoff' && state.delayMs).to.be.at.least(30_000)
    expect(tunnel.lastError?.code).to.equal('IDENTITY_REVOKED')
    tunnel.stop()
  })
})

function setUp() {
  const own = new Scene()
  return { tunnel: own.tunnel, own, pass: (ms: number) => own.pass(ms) }
}
