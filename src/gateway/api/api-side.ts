import type { Address } from '../../base/address.ts'
import type { CancelTimer } from '../../base/clock.ts'
import { asPosternError } from '../../base/errors.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import { asRpcError, RpcError } from '../../rpc/status.ts'
import type { ApiExchange } from '../../transport/api-exchange.ts'
import { ApiListener } from '../../transport/api-listen.ts'
import type { AddressInfo } from '../../transport/https-listen.ts'
import type { NetworkBudget } from '../../transport/network-budget.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { ProcessParts } from '../../tunnel/rpc-connection.ts'
import { handshakeLimits, type Gatekeeper } from '../access/access.ts'
import type { OwnIdentity } from '../ca/ca.ts'
import type { Registry } from '../clusters/clusters.ts'
import type { KnownCaller, RoleAuthority } from '../roles/roles.ts'
import type { ApiCall } from '../protocols/protocols.ts'
import { CallerLines, type CallersDoor, type Line } from './caller-lines.ts'
import { allowOrigin, preflight } from './cors.ts'
import { describedMethod, jsonCodec, notDescribed } from './json-codec.ts'
import { clusterOf, routeOf, type Route } from '../protocols/protocols.ts'
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
}

/** What the API has to show of itself. */
export interface ApiReport {
  readonly connections: number
  /** With a call in the last half minute. */
  readonly callers: number
}

/** The gateway towards callers in any language: gRPC, gRPC-Web and Connect, each call of which goes the way that all calls go. */
export class ApiSide {
  readonly #ports: ApiSidePorts
  readonly #lines: CallerLines
  readonly #tokens: TokenCallers
  readonly #listeners: Partial<Record<'api' | 'apiTokens', ApiListener>> = {}
  #settings: GatewaySettings
  #marks = ''
  #cancelLook: CancelTimer | undefined

  /** @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_MISMATCH, CERTIFICATE_UNUSABLE */
  constructor(ports: ApiSidePorts) {
    this.#ports = ports
    const { settings, parts, own, callers, ambient } = ports
    this.#settings = settings
    this.#lines = new CallerLines({ parts, identity: own.credential.identity, callers })
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
    return { connections, callers: this.#lines.count }
  }

  /** Takes other settings, and the certificate as it lies in its files now. @throws what reading it throws; nothing changes then */
  use(settings: GatewaySettings = this.#settings): void {
    const certificate = serverCertificate(settings, this.#ports.own.credential)
    this.#settings = settings
    this.#tokens.use(settings['api.issuers'])
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

  close(): void {
    this.#cancelLook?.()
    for (const listener of this.#all) listener.close()
    this.#lines.close()
  }

  get #all(): ApiListener[] {
    return Object.values(this.#listeners)
  }

  #listener(address: Address, isMutual: boolean): ApiListener {
    const { settings, ambient, own, gatekeeper, strangers } = this.#ports
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
    const { strangers } = this.#ports
    const { network } = exchange.peer
    if (!strangers.has(network)) {
      exchange.answer(429, {}, Buffer.from('too much was refused to this network\n'))
      return
    }
    const origins = this.#settings['api.origins']
    if (preflight(exchange, origins)) return
    allowOrigin(exchange, origins)
    const route = routeOf(exchange, this.#settings['api.domain'] ?? '')
    if ('status' in route) {
      strangers.charge(network, REFUSAL_MS)
      const plain = { 'content-type': 'text/plain; charset=utf-8' }
      exchange.answer(route.status, plain, Buffer.from(`${route.text}\n`))
      return
    }
    const ended = new AbortController()
    exchange.onGone(() => {
      ended.abort()
    })
    let cancelEnd: CancelTimer | undefined
    try {
      const cluster = clusterOf(route)
      const { who, endsAtMs } = await this.#callerOf(exchange)
      const failure = { now: undefined as RpcError | undefined }
      cancelEnd = this.#endWith(endsAtMs, ended, failure)
      await this.#lines.using(who, (line) =>
        route.protocol.serve(this.#call(exchange, route, { cluster, who, line, ended, failure })),
      )
    } catch (error) {
      const failure = asRpcError(error)
      if (failure.status === 'UNAUTHENTICATED') strangers.charge(network, REFUSAL_MS)
      route.protocol.refuse(exchange, failure)
    } finally {
      cancelEnd?.()
    }
  }

  /** @throws RpcError UNAUTHENTICATED */
  async #callerOf(
    exchange: ApiExchange,
  ): Promise<{ readonly who: KnownCaller; readonly endsAtMs: number | undefined }> {
    const { facts } = exchange.peer
    if (facts === undefined) return await this.#tokens.callerOf(exchange.headers.authorization)
    const { identity } = facts
    if (identity.role !== 'caller') throw new RpcError('UNAUTHENTICATED', 'it is no caller')
    const { caller, region } = identity
    return { who: { caller, region }, endsAtMs: undefined }
  }

  /** A call lasts no longer than the token that it came with. */
  #endWith(
    endsAtMs: number | undefined,
    ended: AbortController,
    failure: { now: RpcError | undefined },
  ): CancelTimer | undefined {
    if (endsAtMs === undefined) return undefined
    const { clock } = this.#ports.ambient
    return clock.startTimer(Math.min(2 ** 31 - 1, Math.max(0, endsAtMs - clock.wallMs())), () => {
      failure.now = new RpcError('UNAUTHENTICATED', 'the token of the caller has ended')
      ended.abort()
    })
  }

  #call(
    exchange: ApiExchange,
    { method }: Route,
    {
      cluster,
      who,
      line: { connection, budget },
      ended,
      failure,
    }: {
      readonly cluster: string
      readonly who: KnownCaller
      readonly line: Line
      readonly ended: AbortController
      readonly failure: { now: RpcError | undefined }
    },
  ): ApiCall {
    return {
      ...{ exchange, method, budget },
      kind: this.#kindOf(who, cluster, method),
      channel: connection.channel(cluster),
      messageBytesMax: this.#settings['rpc.messageBytesMax'],
      signal: ended.signal,
      failureOf: (error) => failure.now ?? asRpcError(error),
      codec: async () => {
        const { OWN_DESCRIPTIONS } = await import('./own-descriptions.ts')
        const found = describedMethod(OWN_DESCRIPTIONS, method)
        if (found === undefined) throw notDescribed(method)
        return jsonCodec(found, OWN_DESCRIPTIONS)
      },
    }
  }

  /** How a method is called, as its cluster has said; what is not known, or not allowed, is refused on its way, however it is called. */
  #kindOf(who: KnownCaller, cluster: string, method: string): ApiCall['kind'] {
    const { registry, roles } = this.#ports
    if (cluster === '') return method === 'postern.v1.Runs/Watch' ? 'serverStream' : 'unary'
    if (!roles.mayUse(who, { cluster, name: method, kind: 1 })) return 'unary'
    for (const { hello } of registry.clusters.get(cluster) ?? []) {
      const found = hello.methods.find(({ name }) => name === method)
      if (found !== undefined) return kindNamed(found.kind)
    }
    return 'unary'
  }
}

function kindNamed(name: string): ApiCall['kind'] {
  return name === 'serverStream' || name === 'clientStream' || name === 'bidi' ? name : 'unary'
}
