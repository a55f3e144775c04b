import { refuseStreams } from '../../src/mux/session-owner.ts'
import { LETS_ALL_IN } from '../../src/gateway/access/access.ts'
import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { GatewayDirectory } from '../../src/agent/tunnels/gateway-directory.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { AgentSide } from '../../src/gateway/agents/agent-side.ts'
import { PeerShares } from '../../src/gateway/access/peer-shares.ts'
import { Registry } from '../../src/gateway/clusters/registry.ts'
import { Admission } from '../../src/gateway/agents/admission.ts'
import { Tunnel as TunnelService } from '../../src/gen/postern/v1/tunnel_pb.js'
import { clientOf } from '../../src/rpc/typed.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import type { PeerWire } from '../../src/tunnel/rpc-connection.ts'
import { Tunnel } from '../../src/tunnel/tunnel.ts'
import { chooseVersion, readHello, writeHello } from '../../src/wire/hello.ts'
import { FrameWriter } from '../../src/wire/frame-writer.ts'
import { KIND } from '../../src/wire/open-head.ts'
import { codeOf } from '../support/code-of.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { MuxSide } from '../support/mux-pair.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { connect } from '../simulation/network.ts'

const RECORDED = JSON.parse(
  readFileSync(new URL('../vectors/older-peers.json', import.meta.url), 'utf8'),
) as { readonly agent: readonly string[]; readonly gateway: readonly string[] }
const GATEWAY = { role: 'gateway', trustDomain: 'sim.test', region: 'r', gateway: 'g' } as const
const AGENT = { role: 'agent', trustDomain: 'sim.test', cluster: 'c', agent: 'a' } as const
const SETTINGS = {
  'tunnel.pingInterval': 10_000,
  'tunnel.silence': 20_000,
  'limits.windowBytesMax': 1024 * 1024,
  'limits.sessionWindowBytesMax': 4 * 1024 * 1024,
  'rpc.messageBytesMax': 512 * 1024,
}
const QUIET = { delayMs: 25, stall: 0, cut: 0, pieceBytesMax: 100_000 }
const HEADER_BYTES = 8

describe('peers of an older version, as recorded', () => {
  const clock = new FakeClock()
  const random = new SeededRandom(1)
  const parts = () => processParts(SETTINGS, { clock, random, logger: silentLogger })
  const wires = (): { near: PeerWire; far: PeerWire } =>
    connect(clock, random, QUIET, { near: AGENT, far: GATEWAY })

  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 10) {
      clock.advance(10)
      await new Promise((resolve) => setImmediate(resolve))
      clock.runSoon()
    }
  }

  /** Says what was recorded. */
  function replay(wire: PeerWire, frames: readonly string[]): Buffer[] {
    const heard: Buffer[] = []
    wire.listen({ onBytes: (chunk) => heard.push(chunk), onClosed: () => undefined })
    for (const frame of frames) wire.write(Buffer.from(frame, 'hex'), () => undefined)
    return heard
  }

  it('an agent is let in with what it offers, and is asked for nothing that it does not know', async () => {
    const registry = new Registry()
    const gateway = parts()
    const side = new AgentSide({
      parts: gateway,
      registry,
      shares: new PeerShares({ whole: gateway.budget, fraction: 1, connectionsMax: 9 }),
      identity: GATEWAY,
      zone: 'z',
      admission: new Admission(100, 100),
      logger: silentLogger,
      registerTimeoutMs: 5000,
      issuer: undefined,
      gatekeeper: LETS_ALL_IN,
    })
    side.tellOf([{ gateway: 'g', zone: '', address: 'g.test:1' }])
    const { near, far } = wires()
    side.accept(far)
    const heard = replay(near, RECORDED.agent)
    await pass(300)
    const [tunnel] = registry.clusters.get('c') ?? []
    expect(tunnel?.hello).to.deep.include({ agentVersion: '0.1.0', features: new Set() })
    expect([...(tunnel?.hello.serviceNames ?? [])]).to.deep.equal(['db'])
    expect(tunnel?.connection.session.isOpen).to.equal(true)
    // It takes no sealed session, and is sent none.
    const sealed = { cluster: 'c', name: '', kind: KIND.sealed, nowMs: 0 }
    expect(registry.pick(sealed)).to.deep.include({ code: 'METHOD_UNKNOWN' })
    codeOf(() => tunnel?.connection.channel().sealed(new RecordingSink()), 'METHOD_UNKNOWN')
    // HELLO, PING and the welcome; no call.
    expect(Buffer.concat(heard).length).to.be.greaterThan(50)
    expect(tunnel?.connection.session.streamCount).to.equal(0)
    tunnel?.connection.close({ code: 'SHUTDOWN', rawMessage: '' } as never)
  })

  it('a gateway lets us in; of gateways and features it says nothing, and none is used', async () => {
    const places = new GatewayDirectory([{ host: 'g.test', port: 1 }])
    const tunnel = new Tunnel({
      process: parts(),
      logger: silentLogger,
      backoff: { minMs: 100, maxMs: 1000 },
      dialTimeoutMs: 5000,
      stableMs: 1000,
      dial: () => {
        const { near, far } = wires()
        // Its answer comes after the question.
        const [hello = '', ...rest] = RECORDED.gateway
        replay(far, [hello])
        clock.startTimer(100, () => {
          for (const frame of rest) far.write(Buffer.from(frame, 'hex'), () => undefined)
        })
        return Promise.resolve(near)
      },
      register: async (connection) => {
        const client = clientOf(TunnelService, connection.channel())
        const welcome = await client.register({ cluster: 'c', agent: 'a' }, { timeoutMs: 5000 })
        places.tell(welcome.gateways)
        return welcome
      },
      streamsOf: () => refuseStreams(''),
    })
    tunnel.start()
    await pass(400)
    const { state } = tunnel
    expect(state.name).to.equal('ready')
    if (state.name !== 'ready') return
    expect(state.welcome).to.deep.include({ gateway: 'g', features: [], gateways: [], zone: '' })
    expect(places.distinct).to.equal(1)
    tunnel.stop()
  })

  it('one of the next version, which speaks ours too, is spoken to in ours', () => {
    const older = readHello(
      Buffer.from(RECORDED.agent[0] ?? '', 'hex'),
      HEADER_BYTES,
      HEADER_BYTES + 28,
    )
    const next = { ...older, versionMax: older.versionMax + 1, features: 0xffn }
    expect(chooseVersion(next)).to.equal(1)
    const side = new MuxSide('acceptor')
    const writer = new FrameWriter()
    writeHello(writer, next)

    side.session.receive(writer.take(), 0)
    expect([side.isReady, side.closed]).to.deep.equal([true, undefined])
  })
})
