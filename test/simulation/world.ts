import { RoleAuthority, RoleBook } from '../../src/gateway/roles/roles.ts'
import { exempt } from '../../src/guard/exempt.ts'
import { refuseStreams } from '../../src/mux/session-owner.ts'
import { LETS_ALL_IN } from '../../src/gateway/access/access.ts'
import type { ByteBudget } from '../../src/base/byte-budget.ts'
import { PeerShares } from '../../src/gateway/access/peer-shares.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { clientOf } from '../../src/rpc/typed.ts'
import { Tunnel as TunnelService } from '../../src/gen/postern/v1/tunnel_pb.js'
import { AgentSide } from '../../src/gateway/agents/agent-side.ts'
import { CallerSide } from '../../src/gateway/callers/caller-side.ts'
import { Admission } from '../../src/gateway/agents/admission.ts'
import { Registry } from '../../src/gateway/clusters/registry.ts'
import type { Identity } from '../../src/identity/name.ts'
import { callerInHead } from '../../src/rpc/caller.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { RpcConnection, type ProcessParts } from '../../src/tunnel/rpc-connection.ts'
import { Tunnel } from '../../src/tunnel/tunnel.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { connect, type Faults } from './network.ts'
import { simulatedOffers } from './offers.ts'

const GATEWAY = { role: 'gateway', trustDomain: 'sim.test', region: 'r', gateway: 'g' } as const
const AGENT = { role: 'agent', trustDomain: 'sim.test', cluster: 'c', agent: 'a' } as const
const CALLER = { role: 'caller', trustDomain: 'sim.test', caller: 'x' } as const

const BUDGET_BYTES = 8 * 1024 * 1024
const SETTINGS = {
  'tunnel.pingInterval': 2000,
  'tunnel.silence': 5000,
  'limits.windowBytesMax': 1024 * 1024,
  'limits.sessionWindowBytesMax': 4 * 1024 * 1024,
  'limits.bufferBytesMax': BUDGET_BYTES,
  'rpc.messageBytesMax': 512 * 1024,
}

function shares(whole: ByteBudget): PeerShares {
  return new PeerShares({ whole, fraction: 1, connectionsMax: 100 })
}

/** In one run of the clock: what goes on without end is told by its work, not by the time that it takes. */
const STEPS_MAX = 1_000_000

/** Agent, gateway and one caller on one virtual clock. */
export class World {
  readonly clock = new FakeClock()
  readonly random: SeededRandom
  readonly registry = new Registry()
  readonly processes: readonly ProcessParts[]
  readonly tunnel: Tunnel
  readonly agentServer: RpcServer
  readonly connections: RpcConnection[] = []
  caller: RpcConnection | undefined
  readonly #faults: Faults
  readonly #agentSide: AgentSide
  readonly #callerSide: CallerSide
  readonly #callerParts: ProcessParts

  constructor(seed: number, faults: Faults) {
    this.random = new SeededRandom(seed)
    this.#faults = faults
    const parts = (): ProcessParts =>
      processParts(SETTINGS, { clock: this.clock, random: this.random, logger: silentLogger })
    const [gateway, agent, caller] = [parts(), parts(), parts()]
    this.processes = [gateway, agent, caller]
    this.#callerParts = caller
    const { registry } = this
    this.#agentSide = new AgentSide({
      parts: gateway,
      registry,
      shares: shares(gateway.budget),
      identity: GATEWAY,
      zone: '',
      admission: new Admission(1000, 1000),
      logger: silentLogger,
      registerTimeoutMs: 5000,
      issuer: undefined,
      gatekeeper: LETS_ALL_IN,
    })
    this.#callerSide = new CallerSide({
      roles: new RoleAuthority(new RoleBook(undefined), 'optional'),
      parts: gateway,
      registry,
      shares: shares(gateway.budget),
      logger: silentLogger,
      gatekeeper: LETS_ALL_IN,
    })
    this.agentServer = new RpcServer(agent.runtime, exempt('gateway to callers'))
    for (const offer of simulatedOffers(this.clock)) this.agentServer.offer(offer)
    this.tunnel = this.#makeTunnel(agent)
  }

  /** A caller's connection to the gateway; a lost one is replaced. */
  connectCaller(): void {
    const { near } = this.#connect(CALLER, (wire) => {
      this.#callerSide.accept(wire)
    })
    const connection = new RpcConnection(near, 'dialer', this.#callerParts, {
      onReady: (ready) => {
        this.caller = ready
      },
      streams: refuseStreams(''),
      onClosed: () => {
        if (this.caller === connection) this.caller = undefined
      },
    })
    this.connections.push(connection)
  }

  /** Lets everything happen that is due within `ms`, handlers' promises included. */
  async run(ms: number, check: () => void): Promise<void> {
    const endMs = this.clock.nowMs() + ms
    for (let steps = 0; ; steps++) {
      if (steps > STEPS_MAX) throw new Error(`more than ${String(STEPS_MAX)} steps of work`)
      await settle(this.clock)
      check()
      const next = this.clock.nextAtMs
      if (next === undefined || next > endMs) break
      this.clock.advance(Math.max(0, next - this.clock.nowMs()))
    }
    this.clock.advance(Math.max(0, endMs - this.clock.nowMs()))
    await settle(this.clock)
    check()
  }

  get sessions(): RpcConnection[] {
    return [...this.connections, ...this.#agentSide.connections, ...this.#callerSide.connections]
  }

  #makeTunnel(parts: ProcessParts): Tunnel {
    return new Tunnel({
      process: parts,
      logger: silentLogger,
      backoff: { minMs: 100, maxMs: 2000 },
      dialTimeoutMs: 5000,
      stableMs: 10_000,
      dial: () =>
        Promise.resolve(
          this.#connect(AGENT, (wire) => {
            this.#agentSide.accept(wire)
          }).near,
        ),
      register: async (connection) => {
        this.connections.push(connection)
        const client = clientOf(TunnelService, connection.channel())
        return await client.register({ cluster: 'c', agent: 'a' }, { timeoutMs: 5000 })
      },
      streamsOf: (peer) =>
        this.agentServer.streamsOf({
          callerOf: (head, extras) => callerInHead(head, extras, peer),
          cluster: 'c',
        }),
    })
  }

  #connect(
    from: Identity,
    take: (wire: ReturnType<typeof connect>['far']) => void,
  ): ReturnType<typeof connect> {
    const pair = connect(this.clock, this.random, this.#faults, { near: from, far: GATEWAY })
    take(pair.far)
    return pair
  }
}

/** Promises, then whatever they scheduled for "soon", until there is neither. */
async function settle(clock: FakeClock): Promise<void> {
  do {
    await new Promise((resolve) => setImmediate(resolve))
  } while (clock.runSoon())
}
