import type { Address } from '../../base/address.ts'
import type { CancelTimer } from '../../base/clock.ts'
import { asPosternError } from '../../base/errors.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import { identityUri } from '../../identity/name.ts'
import { asRpcError, RpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import { KIND } from '../../wire/open-head.ts'
import type { ApiExchange } from '../../transport/api-exchange.ts'
import { ApiListener } from '../../transport/api-listen.ts'
import type { AddressInfo } from '../../transport/https-listen.ts'
import type { NetworkBudget } from '../../transport/network-budget.ts'
import type { TrustedProxies } from '../../transport/trusted-proxies.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { ProcessParts } from '../../tunnel/rpc-connection.ts'
import { handshakeLimits, type Gatekeeper } from '../access/access.ts'
import type { OwnIdentity } from '../ca/ca.ts'
import type { Registry } from '../clusters/clusters.ts'
import { unknownCluster, type KnownCaller, type RoleAuthority } from '../roles/roles.ts'
import type { ApiCall } from '../protocols/protocols.ts'
import type { FileRegistry } from '@bufbuild/protobuf'
import type { CallChannel } from '../../rpc/typed.ts'
import { Descriptions } from './descriptions.ts'
import { REFLECTION_METHODS, reflectionChannel } from './reflection.ts'
import { CallerLines, type CallersDoor, type Line } from './caller-lines.ts'
import { allowOrigin, preflight } from './cors.ts'
import { describedMethod, jsonCodec, notDescribed } from './json-codec.ts'
import { clusterOf, routeOf, type Route } from '../protocols/protocols.ts'
import { RunningCall } from './running-call.ts'
import { certificateMarks, serverCertificate } from './server-certificate.ts'
import { TokenCallers } from './token-callers.ts'

/** What a refused request costs its network in loop time. */
const REFUSAL_MS = 1
const LOOK_MS = 5000

/** The values and collaborators that ApiSide is given. */
export interface ApiSidePorts {
  readonly settings: GatewaySettings
  readonly ambient: Ambient
  readonly parts: ProcessParts
  readonly own: OwnIdentity
  readonly registry: Registry
  readonly roles: RoleAuthority
  readonly callers: CallersDoor
  readonly gatekeeper: Gatekeeper
  readonly strangers: NetworkBudget
  readonly proxies: TrustedProxies
}

/** What the API has to show of itself. */
export interface ApiReport {
  readonly connections: number
  /** Requests that are not over yet, with their answers. */
  readonly running: number
  /** With a call in the last half minute. */
  readonly callers: number
}

/** The gateway towards callers in any language: gRPC, gRPC-Web and Connect, each call of which goes the way that all calls go. */
export class ApiSide {
  readonly #ports: ApiSidePorts
  readonly #lines: CallerLines
  readonly #tokens: TokenCallers
  readonly #descriptions: Descriptions
  readonly #listeners: Partial<Record<'api' | 'apiTokens', ApiListener>> = {}
  readonly #running = new Set<RunningCall>()
  #settings: GatewaySettings
  #marks = ''
  #cancelLook: CancelTimer | undefined

  /** @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_MISMATCH, CERTIFICATE_UNUSABLE */
  constructor(ports: ApiSidePorts) {
    this.#ports = ports
    const { settings, parts, own, callers, ambient } = ports
    this.#settings = settings
    this.#lines = new CallerLines({ parts, identity: own.credential.identity, callers })
    this.#descriptions = new Descriptions({
      ...{ registry: ports.registry, budget: parts.budget },
      nowMs: () => ambient.clock.nowMs(),
    })
    this.#tokens = new TokenCallers(settings['api.issuers'], ambient.clock)
    const { 'api.listen': api, 'api.tokenListen': apiTokens } = settings
    if (api !== undefined) this.#listeners.api = this.#listener(api, true)
    if (apiTokens !== undefined) this.#listeners.apiTokens = this.#listener(apiTokens, false)
    this.#marks = certificateMarks(settings)
  }

  /** Resolves to the addresses bound. @throws LISTEN_FAILED */
  async listen(): Promise<{ readonly api?: AddressInfo; readonly apiTokens?: AddressInfo }> {
    const { api, apiTokens } = this.#listeners
    if (api ?? apiTokens) this.#lookSoon()
    return {
      ...(api === undefined ? {} : { api: await api.listen() }),
      ...(apiTokens === undefined ? {} : { apiTokens: await apiTokens.listen() }),
    }
  }

  report(): ApiReport {
    const connections = this.#all.reduce((sum, { count }) => sum + count, 0)
    const running = this.#all.reduce((sum, one) => sum + one.running, 0)
    return { connections, running, callers: this.#lines.count }
  }

  /** Judges settings before they are taken. @throws what reading the certificate throws */
  judge(settings: GatewaySettings): void {
    serverCertificate(settings, this.#ports.own.credential)
  }

  /** Whether a request is not over yet, with its answer. */
  get isBusy(): boolean {
    return this.#all.some(({ running }) => running > 0)
  }

  /** Takes other settings, and the certificate as it lies in its files now. @throws what reading it throws; nothing changes then */
  use(settings: GatewaySettings = this.#settings): void {
    const certificate = serverCertificate(settings, this.#ports.own.credential)
    this.#settings = settings
    this.#tokens.use(settings['api.issuers'])
    for (const running of this.#running) running.judgeIssuer((issuer) => this.#tokens.takes(issuer))
    for (const listener of this.#all) listener.use(certificate)
  }

  /** Cuts whoever is let in no more. */
  sweep(): void {
    for (const listener of this.#all) listener.sweep()
  }

  /** Takes no more connections, and asks those that there are for no more calls. */
  drain(): void {
    for (const listener of this.#all) listener.drain()
  }

  /** Calls that run fail, and their callers are told why. */
  endCalls(): void {
    for (const running of this.#running) running.stop()
  }

  close(): void {
    this.#cancelLook?.()
    for (const listener of this.#all) listener.close()
    this.#lines.close()
  }

  get #all(): ApiListener[] {
    return Object.values(this.#listeners)
  }

  #listener(address: Address, isMutual: boolean): ApiListener {
    const { settings, ambient, own, gatekeeper, strangers, proxies } = this.#ports
    const { trustDomain } = settings
    return new ApiListener({
      address,
      certificate: serverCertificate(settings, own.credential),
      expected: isMutual ? { trustDomain, roles: ['caller'] } : undefined,
      limits: handshakeLimits(settings),
      clock: ambient.clock,
      random: ambient.random,
      logger: ambient.logger.child({ component: 'api' }),
      budget: strangers,
      proxies,
      ageMs: () => this.#settings['api.connectionAge'],
      admit: (facts) => {
        const denial = gatekeeper.denialOf(facts)
        if (denial !== undefined) throw denial
      },
      serve: (exchange) => {
        this.#serve(exchange).catch((error: unknown) => {
          ambient.logger.error({ err: error }, 'a request of the API failed')
          exchange.abort()
        })
      },
    })
  }

  /** The files of the certificate are somebody else's to renew. */
  #lookSoon(): void {
    const { clock, logger } = this.#ports.ambient
    this.#cancelLook = clock.startTimer(LOOK_MS, () => {
      try {
        const marks = certificateMarks(this.#settings)
        if (marks !== this.#marks) this.use(this.#settings)
        this.#marks = marks
      } catch (error) {
        const { code, rawMessage: reason } = asPosternError(error)
        logger.warn({ code, reason }, 'the certificate of the API could not be taken over')
      }
      this.#lookSoon()
    })
  }

  async #serve(exchange: ApiExchange): Promise<void> {
    const { network, facts } = exchange.peer
    const origins = this.#settings['api.origins']
    if (preflight(exchange, origins)) return
    allowOrigin(exchange, origins)
    const route = routeOf(exchange, this.#settings['api.domain'] ?? '')
    if ('status' in route) {
      if (facts === undefined) this.#ports.strangers.charge(network, REFUSAL_MS)
      const plain = { 'content-type': 'text/plain; charset=utf-8' }
      exchange.answer(route.status, plain, Buffer.from(`${route.text}\n`))
      return
    }
    const running = new RunningCall(exchange)
    this.#running.add(running)
    try {
      const cluster = clusterOf(route)
      const { who, endsAtMs } = await this.#callerOf(exchange)
      running.who = who
      running.endAt(endsAtMs, this.#ports.ambient.clock)
      const kind = this.#kindOf(who, cluster, route.method)
      await this.#lines.using(who, (line) =>
        route.protocol.serve(this.#call(route, { cluster, kind, line, running })),
      )
    } catch (error) {
      route.protocol.refuse(exchange, running.failureOf(error))
    } finally {
      running.end()
      this.#running.delete(running)
    }
  }

  /** Who is known, or was a moment ago, pays for nobody else of its network. @throws RpcError UNAUTHENTICATED, RESOURCE_EXHAUSTED, UNAVAILABLE */
  async #callerOf(
    exchange: ApiExchange,
  ): Promise<{ readonly who: KnownCaller; readonly endsAtMs: number | undefined }> {
    const { facts, network } = exchange.peer
    const { authorization } = exchange.headers
    if (facts !== undefined) {
      const { identity } = facts
      if (identity.role !== 'caller') throw new RpcError('UNAUTHENTICATED', 'it is no caller')
      const { caller, region } = identity
      return { who: { caller, region, uri: identityUri(identity) }, endsAtMs: undefined }
    }
    const believed = this.#tokens.believed(authorization)
    if (believed !== undefined) return believed
    const { strangers } = this.#ports
    if (!strangers.has(network))
      throw new RpcError('RESOURCE_EXHAUSTED', 'too much was refused to this network')
    try {
      return await this.#tokens.callerOf(authorization)
    } catch (error) {
      if (asRpcError(error).status === 'UNAUTHENTICATED') strangers.charge(network, REFUSAL_MS)
      throw error
    }
  }

  #call(
    { method }: Route,
    {
      cluster,
      kind,
      line: { connection, budget },
      running,
    }: {
      readonly cluster: string
      readonly kind: ApiCall['kind']
      readonly line: Line
      readonly running: RunningCall
    },
  ): ApiCall {
    return {
      ...{ exchange: running.exchange, method, budget, kind },
      clock: this.#ports.ambient.clock,
      channel: REFLECTION_METHODS.includes(method)
        ? this.#reflection(running.who, cluster)
        : connection.channel(cluster),
      messageBytesMax: this.#settings['rpc.messageBytesMax'],
      signal: running.signal,
      failureOf: (error) => running.failureOf(error),
      codec: async () => {
        for (const one of await this.#described(cluster)) {
          const found = describedMethod(one, method)
          if (found !== undefined)
            return jsonCodec(found, one, this.#settings['rpc.messageBytesMax'])
        }
        throw notDescribed(method)
      },
    }
  }

  /** Ours first: nobody describes another method under the name of one of ours. */
  async #described(cluster: string): Promise<FileRegistry[]> {
    const { OWN_DESCRIPTIONS } = await import('./own-descriptions.ts')
    return [OWN_DESCRIPTIONS, ...(await this.#descriptions.of(cluster))]
  }

  /** Tells what a caller may use of what a cluster offers. */
  #reflection(who: KnownCaller | undefined, cluster: string): CallChannel {
    const { registry, roles, callers } = this.#ports
    const names = (): string[] => {
      if (cluster === '') return callers.ownMethods
      const all = (registry.clusters.get(cluster) ?? []).flatMap(({ hello }) => hello.methods)
      return all
        .map(({ name }) => name)
        .filter((name) => who && roles.mayUse(who, { cluster, name, kind: KIND.unary }))
    }
    return reflectionChannel(names, () => this.#described(cluster))
  }

  /**
   * How a method is called, as its cluster has said: nothing of a request is read before it is known that it may be called.
   * @throws RpcError of CLUSTER_UNKNOWN, POLICY_DENIED, METHOD_UNKNOWN
   */
  #kindOf(who: KnownCaller, cluster: string, method: string): ApiCall['kind'] {
    const { registry, roles, callers } = this.#ports
    if (cluster === '') {
      if (!roles.mayAsk(who)) throw rpcErrorOfCode('POLICY_DENIED', 'this caller has no role', true)
      if (REFLECTION_METHODS.includes(method)) return 'bidi'
      return callers.ownKind(method) ?? notOffered(method)
    }
    if (REFLECTION_METHODS.includes(method) && roles.sees(who, cluster)) return 'bidi'
    const denial = roles.denialOf(who, { cluster, name: method, kind: KIND.unary })
    if (denial !== undefined) throw rpcErrorOfCode(denial.code, denial.text, true)
    const tunnels = registry.clusters.get(cluster)
    if (tunnels === undefined) {
      const { code, text } = unknownCluster(cluster)
      throw rpcErrorOfCode(code, text, true)
    }
    for (const { hello } of tunnels) {
      const found = hello.methods.find(({ name }) => name === method)
      if (found !== undefined) return kindNamed(found.kind)
    }
    return notOffered(method)
  }
}

/** @throws RpcError UNIMPLEMENTED */
function notOffered(method: string): never {
  throw rpcErrorOfCode('METHOD_UNKNOWN', `${method} is not offered`, true)
}

function kindNamed(name: string): ApiCall['kind'] {
  return name === 'serverStream' || name === 'clientStream' || name === 'bidi' ? name : 'unary'
}
