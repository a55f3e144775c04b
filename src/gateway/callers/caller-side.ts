import type { ByteBudget } from '../../base/byte-budget.ts'
import type { CallKind } from '../../contract/call-guard.ts'
import { exempt } from '../../guard/exempt.ts'
import type { StreamHandler } from '../../mux/session-owner.ts'
import type { Sample } from '../../base/metrics.ts'
import { PosternError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { healthOffers, HealthBoard } from '../../dataplane/health.ts'
import { diagnosticsOffers } from '../../dataplane/diagnostics.ts'
import type { MuxStream } from '../../mux/stream.ts'
import { CallCounts } from '../../rpc/call-counts.ts'
import { statusNumber, statusOfCode } from '../../rpc/status.ts'
import { RpcServer } from '../../rpc/server.ts'
import { RpcConnection, type PeerWire, type ProcessParts } from '../../tunnel/rpc-connection.ts'
import { identityUri } from '../../identity/name.ts'
import { decodeMetadata } from '../../wire/metadata.ts'
import { encodeExtras } from '../../wire/head-extras.ts'
import { PAYLOAD_BYTES_MAX } from '../../wire/frame.ts'
import { FEATURE_HEADERS } from '../../wire/hello.ts'
import {
  CALLER_BYTES_MAX,
  CREDIT_BYTES,
  encodeName,
  isByteStream,
  judgeBody,
  readHead,
  type OpenHead,
} from '../../wire/open-head.ts'
import { runOffers, type RunBook } from '../runs/runs.ts'
import { gatewayOffers, type CallerView } from './gateway-service.ts'
import type { Gatekeeper, PeerShare, PeerShares } from '../access/access.ts'
import {
  isTunnel,
  type AgentTunnel,
  type ClusterBook,
  type Registry,
} from '../clusters/clusters.ts'
import type { KnownCaller, RoleAuthority } from '../roles/roles.ts'
import { Relay, type ArrivedOpen, type RelayPorts } from './relay.ts'

/** Of the streams that a tunnel can hold, what one caller may use up. */
const CALLER_FRACTION = 3 / 4

/** An agent that knows no tokens would take its subject for the name of a certificate. */
function neededFor({ mustTell }: RelayPorts): bigint {
  return mustTell ? FEATURE_HEADERS : 0n
}

interface RelayedCaller extends RelayPorts {
  readonly who: KnownCaller
  readonly live: Set<Relay>
  readonly share: PeerShare
  /** Of a connection of our own: where a call with this trace context goes. */
  readonly tunnelOf: ((mark: string) => AgentTunnel | undefined) | undefined
}

/** The values and collaborators that CallerSide is given. */
export interface CallerSidePorts {
  readonly parts: ProcessParts
  readonly registry: Registry
  readonly runs?: RunBook | undefined
  /** Undefined: the gateway has no store. */
  readonly book?: ClusterBook | undefined
  readonly shares: PeerShares
  readonly roles: RoleAuthority
  readonly logger: Logger
  readonly gatekeeper: Gatekeeper
}

/** Callers' connections and calls in numbers; our own, of the canary, are none. */
export interface CallersReport {
  readonly callers: number
  /** Streams that run. */
  readonly streams: number
  /** Calls and forwards since the start. */
  readonly relayed: number
  /** Bytes that went through, beside heads. */
  readonly bytes: { readonly toAgents: number; readonly toCallers: number }
  /** Ended calls as metrics show them. */
  readonly calls: readonly Sample[]
}

/** The gateway towards control-plane services: relays their calls, and answers some itself. */
export class CallerSide {
  readonly connections = new Set<RpcConnection>()
  relayed = 0
  /** Of relayed calls; canary calls are not among them. */
  readonly counts = new CallCounts()
  /** That went through, beside heads. */
  readonly bytes = { toAgents: 0, toCallers: 0 }
  readonly #options: CallerSidePorts
  /** By a key of the connection. */
  readonly #callers = new Map<string, RelayedCaller>()
  #serial = 0
  readonly #server: RpcServer

  constructor(options: CallerSidePorts) {
    this.#options = options
    const { runtime } = options.parts
    const view: CallerView = {
      sees: ({ tunnel }, cluster) => options.roles.sees(this.#whoOf(tunnel), cluster),
      mayUse: ({ tunnel }, asked) => options.roles.mayUse(this.#whoOf(tunnel), asked),
    }
    // Every verified caller may ask the gateway about itself; clusters have policies of their own.
    this.#server = new RpcServer(runtime, exempt('gateway to callers'))
    const own = [
      ...gatewayOffers(options.registry, options.book, view),
      ...(options.runs === undefined ? [] : runOffers(options.runs, runtime.clock, view)),
      ...healthOffers(new HealthBoard()),
      ...diagnosticsOffers(runtime.clock),
    ]
    for (const offer of own) this.#server.offer(offer)
  }

  /**
   * A TLS connection whose peer was judged to be a caller.
   * @throws HANDSHAKE_LIMIT, BUDGET_EXHAUSTED, IDENTITY_REVOKED
   */
  accept(wire: PeerWire): void {
    const { shares, gatekeeper } = this.#options
    const denial = gatekeeper.denialOf(wire.facts)
    if (denial !== undefined) {
      const text = `${denial.code}: ${denial.rawMessage}`
      gatekeeper.note('handshake.refused', wire.facts, text)
      throw denial
    }
    const share = shares.enter(identityUri(wire.facts.identity))
    try {
      this.#connect(wire, share)
    } catch (error) {
      shares.leave(share)
      throw error
    }
  }

  /** A connection of our own: each of its calls goes into the tunnel that its trace context marks. */
  acceptOwn(wire: PeerWire, tunnelOf: (mark: string) => AgentTunnel | undefined): void {
    this.#connect(wire, this.#options.shares.enter('canary'), tunnelOf)
  }

  /** A connection within this process, of somebody whom another listener has judged. @throws HANDSHAKE_LIMIT, BUDGET_EXHAUSTED */
  acceptKnown(wire: PeerWire, who: KnownCaller): ByteBudget {
    const name = who.uri ?? `token ${relayKey(who)}`
    const share = this.#options.shares.enter(name)
    try {
      this.#connect(wire, share, undefined, who)
      return share.budget
    } catch (error) {
      this.#options.shares.leave(share)
      throw error
    }
  }

  /** Names of the gateway's own methods. */
  get ownMethods(): string[] {
    return this.#server.offers.map(({ name }) => name)
  }

  /** How a method of the gateway's own is called; undefined: it has none of that name. */
  ownKind(method: string): Exclude<CallKind, 'forward'> | undefined {
    const found = this.#server.offers.find(({ name }) => name === method)?.handler.kind
    return found === 'forward' ? undefined : found
  }

  /** Connections of callers, and what goes through them. */
  report(): CallersReport {
    const found = [...this.connections].filter(({ facts }) => facts.identity.role === 'caller')
    const streams = found.reduce((sum, { session }) => sum + session.streamCount, 0)
    const { relayed, counts } = this
    const bytes = { ...this.bytes }
    return { callers: found.length, streams, relayed, bytes, calls: counts.samples() }
  }

  /** Cuts whoever is let in no more. */
  sweep(): void {
    for (const connection of [...this.connections]) {
      // Our own has no certificate to be judged.
      if (connection.facts.identity.role === 'gateway') continue
      const denial = this.#options.gatekeeper.denialOf(connection.facts)
      if (denial !== undefined) connection.close(denial)
    }
  }

  /** Goes over to another setting of who needs a role. */
  useRoles(certificates: 'optional' | 'required'): void {
    this.#options.roles.use(certificates)
    this.judgeRoles()
  }

  /** Roles have changed: streams that they allow no more end. */
  judgeRoles(): void {
    const { roles } = this.#options
    for (const { who, live } of this.#callers.values())
      for (const relay of [...live]) {
        const denial = roles.denialOf(who, relay.asked)
        if (denial !== undefined) relay.withdraw('POLICY_DENIED')
      }
  }

  #whoOf(key: string): KnownCaller {
    // A connection that has ended sees what nobody sees.
    return this.#callers.get(key)?.who ?? { caller: '', issuer: 'none' }
  }

  #connect(
    wire: PeerWire,
    share: PeerShare,
    tunnelOf?: RelayedCaller['tunnelOf'],
    known?: KnownCaller,
  ): void {
    const { logger, shares } = this.#options
    const parts = { ...this.#options.parts, budget: share.budget }
    const { identity, address } = wire.facts
    const who = known ?? (identity.role === 'caller' ? identity : { caller: '' })
    const { caller } = who
    const from = this.#relayedCaller(who, share, tunnelOf)
    const key = String(++this.#serial)
    this.#callers.set(key, from)
    const facts = { peer: address, caller }
    const connection = new RpcConnection(wire, 'acceptor', parts, {
      onReady: () => {
        logger.debug(facts, 'caller connected')
      },
      streams: this.#streamsOf(key, from),
      onClosed: (closed, error) => {
        this.connections.delete(closed)
        this.#callers.delete(key)
        shares.leave(share)
        logger.debug({ ...facts, code: error.code, reason: error.rawMessage }, 'caller left')
      },
    })
    this.connections.add(connection)
  }

  /** Calls to a cluster are passed on; those to nobody are for the gateway itself. */
  #streamsOf(key: string, from: RelayedCaller): StreamHandler {
    const { caller: name, issuer } = from.who
    const known = issuer === undefined ? 'gateway' : 'token'
    const own = this.#server.streamsOf({
      callerOf: () => ({ kind: 'service', known, name, issuer }),
      tunnel: key,
    })
    return {
      open: (arrival) => {
        const { stream, bytes, start, end, isEnded } = arrival
        let head: OpenHead
        try {
          if (CREDIT_BYTES + end - start > OPEN_BYTES_MAX) throw tooLarge()
          head = readHead(bytes, start, end)
          judgeBody(head, end, isEnded)
          decodeMetadata(bytes, head.metadataStart, head.metadataEnd)
        } catch (error) {
          if (!(error instanceof PosternError)) throw error
          stream.refuse(error.code, false, error.rawMessage)
          return
        }
        if (head.cluster === '' && !this.#options.roles.mayAsk(from.who))
          stream.refuse('POLICY_DENIED', false, 'this caller has no role')
        else if (head.cluster === '') own.open(arrival)
        else this.#relay(stream, from, { head, bytes, start, end, isEnded })
      },
    }
  }

  #relayedCaller(
    who: KnownCaller,
    share: PeerShare,
    tunnelOf: RelayedCaller['tunnelOf'],
  ): RelayedCaller {
    const { parts, registry } = this.#options
    const nowMs = (): number => parts.runtime.clock.nowMs()
    const isOwn = tunnelOf !== undefined
    const { caller, region = '', issuer = '' } = who
    const live = new Set<Relay>()
    const from: RelayedCaller = {
      counts: isOwn ? new CallCounts() : this.counts,
      onPassed: (isToAgent, bytes) => {
        if (isOwn) return
        if (isToAgent) this.bytes.toAgents += bytes
        else this.bytes.toCallers += bytes
      },
      who,
      live,
      onLive: (relay, isLive) => {
        if (isLive) live.add(relay)
        else live.delete(relay)
      },
      tunnelOf,
      callerName: encodeName(caller),
      extras: encodeExtras({ callerRegion: region, callerIssuer: issuer }),
      mustTell: issuer !== '',
      share,
      budget: share.budget,
      nowMs,
      watchDeadline: (entry) => {
        parts.runtime.watchDeadline(entry)
      },
      forgetDeadline: (entry) => {
        parts.runtime.forgetDeadline(entry)
      },
      onEnded: (tunnel) => {
        endRelay(tunnel, relayKey(who))
      },
      onOutcome: ({ record }, isAnswered) => {
        if (isAnswered) record.succeeded()
        else record.failed(nowMs())
      },
      onCallerReset: () => {
        share.resets.didReset(nowMs())
      },
      spanOf: ({ name, cluster, traceparent }) => {
        const { tracer } = parts.runtime
        // Canary calls mark their tunnels where others trace.
        if (tracer === undefined || tunnelOf !== undefined) return undefined
        const attributes = { 'postern.caller': caller, 'postern.cluster': cluster }
        return tracer.start('relay', name, traceparent, attributes)
      },
      another: ({ cluster, name, kind }, tried) => {
        const needs = neededFor(from)
        const next = registry.pick({ cluster, name, kind, nowMs: nowMs(), tried, needs })
        return isTunnel(next) && this.#mayRelay(next, from) ? next : undefined
      },
    }
    return from
  }

  #relay(stream: MuxStream, from: RelayedCaller, open: ArrivedOpen): void {
    const { registry } = this.#options
    const { clock } = this.#options.parts.runtime
    const { cluster, name, kind, traceparent } = open.head
    const isForward = isByteStream(kind)
    const denial = this.#options.roles.denialOf(from.who, open.head)
    if (denial !== undefined) {
      from.counts.ended(isForward, statusNumber(statusOfCode(denial.code)), 0)
      stream.refuse(denial.code, denial.code === 'CLUSTER_UNKNOWN', denial.text)
      return
    }
    const marked = from.tunnelOf?.(traceparent)
    const needs = neededFor(from)
    const found = marked ?? registry.pick({ cluster, name, kind, nowMs: clock.nowMs(), needs })
    if (!isTunnel(found)) {
      from.counts.ended(isForward, statusNumber(statusOfCode(found.code)), 0)
      stream.refuse(found.code, true, found.text)
      return
    }
    if (!this.#mayRelay(found, from)) {
      from.counts.ended(isForward, statusNumber(statusOfCode('STREAM_LIMIT')), 0)
      stream.refuse('STREAM_LIMIT', true, 'this caller has more than its part of the tunnel')
      return
    }
    if (marked === undefined) this.relayed++
    const hasOthers = marked === undefined && (registry.clusters.get(cluster)?.length ?? 0) > 1
    Relay.start(from, stream, found, open, hasOthers)
  }

  /** Counts the stream in, unless the caller has more than its part already. */
  #mayRelay({ relays, connection }: AgentTunnel, { who, share }: RelayedCaller): boolean {
    const caller = relayKey(who)
    const running = relays.get(caller) ?? 0
    const isOver = running >= connection.session.peerStreamsMax * CALLER_FRACTION
    if (isOver || !share.resets.mayOpen(this.#options.parts.runtime.clock.nowMs())) return false
    relays.set(caller, running + 1)
    return true
  }
}

/** What is left to an OPEN to a gateway, which writes the caller's name into it (PROTOCOL 6.1). */
const OPEN_BYTES_MAX = PAYLOAD_BYTES_MAX - CALLER_BYTES_MAX

function tooLarge(): PosternError {
  const text = `an OPEN to a gateway has at most ${String(OPEN_BYTES_MAX)} bytes`
  return new PosternError('HEAD_TOO_LARGE', text)
}

/** Whose streams are counted together in a tunnel. */
function relayKey({ caller, issuer }: KnownCaller): string {
  return issuer === undefined ? caller : `${issuer} ${caller}`
}

function endRelay({ relays }: AgentTunnel, caller: string): void {
  const left = (relays.get(caller) ?? 1) - 1
  if (left === 0) relays.delete(caller)
  else relays.set(caller, left)
}
