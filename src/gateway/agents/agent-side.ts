import { RecordWatch } from './record-watch.ts'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { CancelTimer } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { Listeners } from '../../base/listeners.ts'
import type { Logger } from '../../base/logger.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { VERSION } from '../../base/version.ts'
import {
  type GatewayPlaceSchema,
  Tunnel,
  type HeartbeatRequest,
  type RegisterRequest,
  type RegisterResponseSchema,
  type RenewRequest,
  type RenewResponseSchema,
} from '../../gen/postern/v1/tunnel_pb.js'
import { readSigningRequest } from '../../identity/csr.ts'
import { identityUri, type Identity } from '../../identity/name.ts'
import type { CallContext } from '../../rpc/call-context.ts'
import { RpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import type { Caller } from '../../contract/caller.ts'
import { exempt } from '../../guard/exempt.ts'
import { RpcServer } from '../../rpc/server.ts'
import { offersOf } from '../../rpc/typed.ts'
import { RpcConnection, type PeerWire, type ProcessParts } from '../../tunnel/rpc-connection.ts'
import {
  HELLO_BYTES_MAX,
  judgeHello,
  CallRecord,
  HEARTBEATS_BURST,
  HEARTBEATS_PER_SECOND,
  judgeHeartbeat,
  type AgentTunnel,
  type Registry,
} from '../clusters/clusters.ts'
import { CANARY_FEATURE, HEARTBEAT_FEATURE, RUNS_FEATURE } from '../../contract/features.ts'
import { RunSink, type AppendRequest } from '../../gen/postern/v1/runs_pb.js'
import type { Issuer } from '../ca/ca.ts'
import type { RunIntake } from '../runs/runs.ts'
import type { Gatekeeper, PeerShare, PeerShares } from '../access/access.ts'
import type { Admission } from './admission.ts'

const REGISTER = 'postern.v1.Tunnel/Register'
const AFTER_REGISTER = [
  'postern.v1.Tunnel/Renew',
  'postern.v1.Tunnel/Heartbeat',
  'postern.v1.RunSink/Append',
]
const FEATURES = [CANARY_FEATURE, HEARTBEAT_FEATURE]
/** Renewals of one tunnel: what a retry after a lost answer needs, and no more. */
const RENEWALS_PER_SECOND = 0.5
const RENEWALS_BURST = 10

type Welcome = MessageInitShape<typeof RegisterResponseSchema>
type Renewal = MessageInitShape<typeof RenewResponseSchema>
type GatewayIdentity = Extract<Identity, { role: 'gateway' }>

/** The values and collaborators that AgentSide is given. */
export interface AgentSidePorts {
  readonly parts: ProcessParts
  readonly registry: Registry
  readonly shares: PeerShares
  readonly identity: GatewayIdentity
  readonly zone: string
  readonly logger: Logger
  /** Longest time from TLS to Register, in ms. */
  readonly registerTimeoutMs: number
  /** Lets agents in at a rate. */
  readonly admission: Admission
  /** Keeps events of runs; undefined: this gateway has no store. */
  readonly runs?: RunIntake | undefined
  /** Makes certificates; undefined: this gateway has no CA. */
  readonly issuer: Issuer | undefined
  readonly gatekeeper: Gatekeeper
}

/** A gateway as agents are told of it. */
export type ToldGateway = MessageInitShape<typeof GatewayPlaceSchema>

/** A tunnel that has registered, and the version of the trust bundle that its agent holds. */
export interface Arrival {
  readonly tunnel: AgentTunnel
  readonly bundleVersion: number
}

/** A tunnel that has ended, and why. */
export interface Departure {
  readonly tunnel: AgentTunnel
  readonly error: PosternError
}

/** An agent's connection that has not registered yet. */
interface Newcomer {
  readonly connection: RpcConnection
  readonly cancelTimer: CancelTimer
}

/** One that has, and may now renew its certificate and report. */
interface Registered {
  readonly tunnel: AgentTunnel
  readonly renewals: TokenBucket
  readonly heartbeats: TokenBucket
}

/** The gateway towards its agents: takes their connections, and registers them. */
export class AgentSide {
  readonly connections = new Set<RpcConnection>()
  readonly registered = new Listeners<Arrival>()
  readonly left = new Listeners<Departure>()
  /** An agent has said how it is. */
  readonly told = new Listeners<AgentTunnel>()
  readonly #options: AgentSidePorts
  #told: readonly ToldGateway[] = []
  readonly #server: RpcServer
  readonly #newcomers = new Map<string, Newcomer>()
  readonly #members = new Map<string, Registered>()
  readonly #records = new RecordWatch()
  #serial = 0

  constructor(options: AgentSidePorts) {
    this.#options = options
    // An agent calls for itself: what it may depends on where its connection stands.
    this.#server = new RpcServer(
      options.parts.runtime,
      exempt('gateway to agents', ({ name, caller }) => {
        const key = keyOf(caller)
        if (name === REGISTER && this.#newcomers.has(key)) return undefined
        if (AFTER_REGISTER.includes(name) && this.#members.has(key)) return undefined
        const text = name === REGISTER ? 'registered already' : 'not for agents, or not now'
        return { code: 'POLICY_DENIED', text }
      }),
    )
    const register = (request: RegisterRequest, { caller }: CallContext): Welcome =>
      this.#register(request, keyOf(caller))
    const renew = (request: RenewRequest, { caller }: CallContext) =>
      this.#renew(request, keyOf(caller))
    const heartbeat = (request: HeartbeatRequest, { caller }: CallContext): object =>
      this.#heartbeat(request, keyOf(caller))
    for (const offer of offersOf(Tunnel, { register, renew, heartbeat }))
      this.#server.offer({ ...offer, requestBytesMax: HELLO_BYTES_MAX })
    if (options.runs !== undefined) this.#offerRuns(options.runs)
  }

  #offerRuns(runs: RunIntake): void {
    const append = async (request: AppendRequest, { caller }: CallContext): Promise<object> => {
      const member = this.#members.get(keyOf(caller))
      if (member === undefined) throw rpcErrorOfCode('PROTOCOL_VIOLATION', 'it has not registered')
      return await runs.append(member.tunnel, request)
    }
    for (const offer of offersOf(RunSink, { append }))
      this.#server.offer({ ...offer, requestBytesMax: HELLO_BYTES_MAX })
  }

  /** Says what agents are told of this gateway and of others; empty: nothing. */
  tellOf(gateways: readonly ToldGateway[]): void {
    this.#told = gateways
  }

  /**
   * A TLS connection whose peer was judged to be an agent.
   * @throws HANDSHAKE_LIMIT, BUDGET_EXHAUSTED, IDENTITY_REVOKED, CLUSTER_LOCKED
   */
  accept(wire: PeerWire): void {
    const { shares, gatekeeper } = this.#options
    const denial = gatekeeper.denialOf(wire.facts)
    if (denial !== undefined) {
      gatekeeper.note('handshake.refused', wire.facts, textOf(denial))
      throw denial
    }
    const name = identityUri(wire.facts.identity)
    const share = shares.enter(name)
    try {
      const { admission, parts } = this.#options
      const laterMs = admission.admit(name, parts.runtime.clock.nowMs())
      if (laterMs === 0) this.#connect(wire, share)
      else this.#sendBack(wire, share, laterMs)
    } catch (error) {
      shares.leave(share)
      throw error
    }
  }

  /** Says when to come back, and hangs up. */
  #sendBack(wire: PeerWire, share: PeerShare, laterMs: number): void {
    const parts = { ...this.#options.parts, budget: share.budget }
    const connection = new RpcConnection(wire, 'acceptor', parts, {
      streams: {
        open: ({ stream }) => {
          stream.refuse('HANDSHAKE_LIMIT', true, '')
        },
      },
      onClosed: () => {
        this.#options.shares.leave(share)
      },
    })
    const text = 'more agents come than are let in at once; come back when told'
    connection.close(new PosternError('HANDSHAKE_LIMIT', text), laterMs)
  }

  /** Cuts whoever is let in no more. */
  sweep(): void {
    for (const connection of [...this.connections]) {
      const denial = this.#options.gatekeeper.denialOf(connection.facts)
      if (denial !== undefined) connection.close(denial)
    }
  }

  #connect(wire: PeerWire, share: PeerShare): void {
    const { registry, logger, registerTimeoutMs, shares } = this.#options
    const parts = { ...this.#options.parts, budget: share.budget }
    const { identity } = wire.facts
    const cluster = identity.role === 'agent' ? identity.cluster : ''
    const key = String(++this.#serial)
    const facts = { peer: wire.facts.address, ...identity }
    const connection = new RpcConnection(wire, 'acceptor', parts, {
      streams: this.#server.streamsOf({ callerOf: () => ({ kind: 'connection', key }) }),
      onClosed: (closed, error) => {
        this.connections.delete(closed)
        shares.leave(share)
        this.#newcomers.get(key)?.cancelTimer()
        this.#newcomers.delete(key)
        this.#members.delete(key)
        const tunnel = registry.remove(cluster, closed)
        if (tunnel !== undefined) this.left.tell({ tunnel, error })
        const { code, rawMessage: reason } = error
        const details = { ...facts, code, reason }
        const agent = identity.role === 'agent' ? identity.agent : ''
        const atMs = parts.runtime.clock.wallMs()
        registry.errors.note(cluster, { atMs, agent, code, text: reason })
        const isTunnel = tunnel !== undefined
        logger.info(details, isTunnel ? 'tunnel closed' : 'agent left before it registered')
      },
    })
    this.connections.add(connection)
    const cancelTimer = parts.runtime.clock.startTimer(registerTimeoutMs, () => {
      connection.close(new PosternError('HANDSHAKE_LIMIT', 'the agent did not register in time'))
    })
    this.#newcomers.set(key, { connection, cancelTimer })
  }

  #register(request: RegisterRequest, key: string): Welcome {
    const newcomer = this.#newcomers.get(key)
    if (newcomer === undefined) throw rpcErrorOfCode('PROTOCOL_VIOLATION', 'registered already')
    const { connection, cancelTimer } = newcomer
    const { identity } = connection.facts
    if (
      identity.role !== 'agent' ||
      identity.cluster !== request.cluster ||
      identity.agent !== request.agent
    ) {
      const text = 'WRONG_CLUSTER: the names in Register are not those of the certificate'
      throw new RpcError('PERMISSION_DENIED', text)
    }
    const hello = judgeHello(request)
    cancelTimer()
    this.#newcomers.delete(key)
    const { cluster, agent } = identity
    const tunnel: AgentTunnel = {
      cluster,
      agent,
      connection,
      hello,
      instance: request.instance,
      bundleVersion: request.bundleVersion,
      relays: new Map(),
      record: new CallRecord(),
      report: undefined,
      canary: { latencyMs: undefined, failures: 0 },
      isOutdated: false,
    }
    // In the registry first, judged then: a denial that comes between the two finds it there.
    this.#options.registry.add(tunnel)
    const denial = this.#options.gatekeeper.denialOf(connection.facts)
    if (denial !== undefined) {
      connection.close(denial)
      throw rpcErrorOfCode(denial.code, denial.rawMessage)
    }
    const renewals = new TokenBucket(RENEWALS_PER_SECOND, RENEWALS_BURST)
    const heartbeats = new TokenBucket(HEARTBEATS_PER_SECOND, HEARTBEATS_BURST)
    this.#members.set(key, { tunnel, renewals, heartbeats })
    void this.#noteUse(connection)
    const { tlsVersion, cipher, address } = connection.facts
    const facts = {
      cluster,
      agent,
      peer: address,
      tlsVersion,
      cipher,
      agentVersion: hello.agentVersion,
    }
    this.#options.logger.info(facts, 'tunnel registered')
    this.registered.tell({ tunnel, bundleVersion: request.bundleVersion })
    const { zone, identity: own } = this.#options
    const timeMs = BigInt(Math.round(this.#options.parts.runtime.clock.wallMs()))
    const { gateway, region } = own
    const gateways = [...this.#told]
    return {
      gatewayVersion: VERSION,
      gateway,
      region,
      timeMs,
      features: this.#options.runs === undefined ? FEATURES : [...FEATURES, RUNS_FEATURE],
      gateways,
      zone,
    }
  }

  #heartbeat(request: HeartbeatRequest, key: string): object {
    const { clock } = this.#options.parts.runtime
    const registered = this.#members.get(key)
    if (registered?.heartbeats.spend(clock.nowMs()) !== true)
      throw rpcErrorOfCode('FLOOD', 'heartbeats come too often')
    const { tunnel } = registered
    const report = judgeHeartbeat(request, tunnel.hello, clock.wallMs())
    const { cluster, agent, connection } = tunnel
    const reason = this.#records.look(`${cluster}/${agent}`, report)
    if (reason !== undefined) {
      const { logger, gatekeeper } = this.#options
      logger.warn({ cluster, agent, reason }, 'the record of an agent was cut')
      gatekeeper.note('record.cut', connection.facts, reason)
    }
    tunnel.report = report
    this.told.tell(tunnel)
    return {}
  }

  /** The first use of a certificate makes it the agent's current one; an older one is a warning. */
  async #noteUse({ facts }: RpcConnection): Promise<void> {
    const { issuer, parts, logger, gatekeeper } = this.#options
    try {
      const state = await issuer?.used(facts.certificate, parts.runtime.clock.wallMs())
      // Without a CA of our own every certificate is somebody else's.
      if (state !== 'superseded' && state !== 'unknown') return
      const details = { peer: facts.address, ...facts.identity }
      const text =
        state === 'superseded'
          ? 'an agent came with a certificate that a later one has replaced'
          : 'an agent came with a certificate that we have no record of'
      logger.warn(details, text)
      gatekeeper.note(`certificate.${state}`, facts, text)
    } catch (error) {
      logger.error({ err: error }, 'the use of a certificate could not be written down')
    }
  }

  async #renew({ signingRequest }: RenewRequest, key: string): Promise<Renewal> {
    const { issuer, parts, logger, gatekeeper } = this.#options
    const { clock } = parts.runtime
    const registered = this.#members.get(key)
    if (registered?.renewals.spend(clock.nowMs()) !== true)
      throw rpcErrorOfCode('RENEWAL_REFUSED', 'too many renewals, or too early')
    const { facts } = registered.tunnel.connection
    try {
      if (issuer === undefined)
        throw new PosternError('RENEWAL_REFUSED', 'this gateway issues no certificates')
      const request = readSigningRequest(Buffer.from(signingRequest))
      const asker = { address: facts.address, nowMs: clock.wallMs() }
      const certificate = await issuer.renew(facts.certificate, request, asker)
      return { certificate, chain: [...issuer.chain] }
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      const { code, rawMessage: reason } = error
      logger.warn({ code, reason, peer: facts.address, ...facts.identity }, 'refused a renewal')
      gatekeeper.note('renewal.refused', facts, textOf(error))
      throw rpcErrorOfCode(code, reason)
    }
  }
}

function keyOf(caller: Caller): string {
  return caller.kind === 'connection' ? caller.key : ''
}

/** As an event says it. */
function textOf({ code, rawMessage }: PosternError): string {
  return `${code}: ${rawMessage}`
}
