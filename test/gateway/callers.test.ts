import { RoleAuthority, RoleBook } from '../../src/gateway/roles/roles.ts'
import { expect } from 'chai'
import { silentLogger } from '../../src/base/logger.ts'
import { Health } from '../../src/gen/grpc/health/v1/health_pb.js'
import { LETS_ALL_IN, PeerShares } from '../../src/gateway/access/access.ts'
import { CallerSide } from '../../src/gateway/callers/callers.ts'
import { Registry } from '../../src/gateway/clusters/clusters.ts'
import { refuseStreams } from '../../src/mux/session-owner.ts'
import { RpcError } from '../../src/rpc/status.ts'
import { clientOf } from '../../src/rpc/typed.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { RpcConnection } from '../../src/tunnel/rpc-connection.ts'
import { connect } from '../simulation/network.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { passTime } from '../support/pass-time.ts'

const QUIET = { delayMs: 1, stall: 0, cut: 0, pieceBytesMax: 1 << 20 }
const CALLER = { role: 'caller', trustDomain: 't', caller: 'billing' } as const
const GATEWAY = { role: 'gateway', trustDomain: 't', region: 'r', gateway: 'g' } as const
const SETTINGS = {
  'tunnel.pingInterval': 15_000,
  'tunnel.silence': 45_000,
  'limits.windowBytesMax': 1 << 20,
  'limits.sessionWindowBytesMax': 1 << 22,
  'rpc.messageBytesMax': 1 << 20,
}

describe('the side of callers', () => {
  it('answers for the gateway itself, refuses clusters that nobody is of, and reports both', async () => {
    const clock = new FakeClock()
    const ambient = { clock, random: new SeededRandom(1), logger: silentLogger }
    const parts = processParts(SETTINGS, ambient)
    const side = new CallerSide({
      roles: new RoleAuthority(new RoleBook(undefined), 'optional'),
      parts,
      registry: new Registry(),
      shares: new PeerShares({ whole: parts.budget, fraction: 1, connectionsMax: 1 }),
      logger: silentLogger,
      gatekeeper: LETS_ALL_IN,
    })
    const ids = { near: CALLER, far: GATEWAY }
    const { near, far } = connect(clock, new SeededRandom(2), QUIET, ids)
    side.accept(far)
    const ready = new Promise<RpcConnection>((resolve) => {
      const streams = refuseStreams('')
      new RpcConnection(near, 'dialer', parts, {
        streams,
        onReady: resolve,
        onClosed: () => undefined,
      })
    })
    await passTime(clock, 10)
    const connection = await ready
    const own = clientOf(Health, connection.channel()).check({})
    const away = clientOf(Health, connection.channel('nobody')).check({})
    const outcomes = Promise.allSettled([own, away])
    await passTime(clock, 20)
    const [answered, refused] = await outcomes
    expect(answered.status).to.equal('fulfilled')
    const error = refused.status === 'rejected' ? (refused.reason as RpcError) : undefined
    expect([error?.code, error?.notStarted]).to.deep.equal(['CLUSTER_UNKNOWN', true])
    expect(side.report()).to.deep.include({ callers: 1, relayed: 0, streams: 0 })
    // A second connection is more than its part.
    const second = connect(clock, new SeededRandom(3), QUIET, ids)
    expect(() => {
      side.accept(second.far)
    }).to.throw(/HANDSHAKE_LIMIT/)
  })
})
