import { ByteBudget } from '../../base/byte-budget.ts'
import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import type { GatewayPool } from '../../caller/gateway-pool.ts'
import type { SealOptions } from '../../caller/sealed-cluster.ts'
import type { CallerSettings } from '../../config/gateway-settings.ts'
import { clusterOf, routeOf, type ApiCall } from '../../gateway/protocols/protocols.ts'
import { asRpcError, RpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import type { CallChannel } from '../../rpc/typed.ts'
import type { ApiExchange } from '../../transport/api-exchange.ts'

/** How long what a cluster offers is believed, in ms. */
const KNOWN_MS = 5000
const LOOK_MS_MAX = 10_000
/** Of requests and answers at one time. */
const BUFFER_BYTES_MAX = 128 * 1024 * 1024
/** Names by which a program on this machine calls; what a page of a browser says by another name is not from here. */
const LOCAL_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i

type Kinds = ReadonlyMap<string, ApiCall['kind']>

/** The values and collaborators that `ProxyCalls` is given. */
export interface ProxyPorts {
  readonly gateways: GatewayPool
  readonly clock: Clock
  /** Of calls that name none. */
  readonly cluster: string | undefined
  readonly settings: CallerSettings
  /** How calls to a cluster are sealed; undefined: they are not. @throws USAGE, CONFIG_INVALID */
  readonly sealFor: (cluster: string) => SealOptions | undefined
  /** Hears of what is wrong on this side. */
  readonly onFault: (text: string) => void
}

/** Makes the calls of programs on this machine in the name of one caller. */
export class ProxyCalls {
  readonly #ports: ProxyPorts
  readonly #budget: ByteBudget
  readonly #channels = new Map<string, CallChannel>()
  readonly #kinds = new Map<string, { readonly kinds: Promise<Kinds>; readonly atMs: number }>()

  constructor(ports: ProxyPorts) {
    this.#ports = ports
    this.#budget = new ByteBudget(BUFFER_BYTES_MAX)
  }

  /** Takes a request, and answers it in its time. */
  serve(exchange: ApiExchange): void {
    this.#serve(exchange).catch((error: unknown) => {
      this.#ports.onFault(`a request failed: ${asRpcError(error).message}`)
      exchange.abort()
    })
  }

  async #serve(exchange: ApiExchange): Promise<void> {
    // A page of any site could reach this port through a browser.
    const { origin } = exchange.headers
    const isLocal = exchange.authority === '' || LOCAL_HOST.test(exchange.authority)
    if (origin !== undefined || !isLocal) {
      exchange.answer(403, {}, Buffer.from('calls are made by programs on this machine\n'))
      return
    }
    const route = routeOf(exchange, '')
    if ('status' in route) {
      exchange.answer(route.status, {}, Buffer.from(`${route.text}\n`))
      return
    }
    const ended = new AbortController()
    exchange.onGone(() => {
      ended.abort()
    })
    try {
      const cluster = clusterOf({ ...route, cluster: route.cluster ?? this.#ports.cluster })
      const kind = await this.#kindOf(cluster, route.method)
      await route.protocol.serve({
        ...{ exchange, method: route.method, kind, budget: this.#budget, signal: ended.signal },
        channel: this.#channelTo(cluster),
        messageBytesMax: this.#ports.settings['rpc.messageBytesMax'],
        clock: this.#ports.clock,
        failureOf: (error) => this.#failureOf(error),
        codec: () => Promise.reject(noJson()),
      })
    } catch (error) {
      route.protocol.refuse(exchange, this.#failureOf(error))
    }
  }

  /** @throws USAGE, CONFIG_INVALID */
  #channelTo(cluster: string): CallChannel {
    const { gateways, sealFor } = this.#ports
    if (cluster === '') return gateways.cluster('').channel
    const known = this.#channels.get(cluster) ?? gateways.cluster(cluster, sealFor(cluster)).channel
    this.#channels.set(cluster, known)
    return known
  }

  /** @throws RpcError */
  async #kindOf(cluster: string, method: string): Promise<ApiCall['kind']> {
    if (cluster === '') return OWN_STREAMS.get(method) ?? 'unary'
    const kind = (await this.#kindsOf(cluster)).get(method)
    if (kind !== undefined) return kind
    throw rpcErrorOfCode('METHOD_UNKNOWN', `${method} is not offered`, true)
  }

  async #kindsOf(cluster: string): Promise<Kinds> {
    const { clock, gateways } = this.#ports
    const known = this.#kinds.get(cluster)
    if (known !== undefined && clock.nowMs() - known.atMs < KNOWN_MS) return await known.kinds
    const kinds = gateways
      .getCluster(cluster, { timeoutMs: LOOK_MS_MAX })
      .then(({ tunnels }) => kindsIn(tunnels.flatMap(({ methods }) => methods)))
    this.#kinds.set(cluster, { kinds, atMs: clock.nowMs() })
    // What failed is asked again by the next call.
    kinds.catch(() => this.#kinds.delete(cluster))
    try {
      return await kinds
    } catch (error) {
      const { status } = asRpcError(error)
      if (status !== 'NOT_FOUND') throw error
      throw rpcErrorOfCode('CLUSTER_UNKNOWN', `no tunnel of cluster ${cluster} is connected`, true)
    }
  }

  /** What is wrong on this side is told here, and to the program in our words. */
  #failureOf(error: unknown): RpcError {
    if (error instanceof RpcError || error instanceof PosternError) return asRpcError(error)
    this.#ports.onFault(`a call failed: ${error instanceof Error ? error.message : String(error)}`)
    return new RpcError('INTERNAL', 'INTERNAL: the proxy failed, and has said why')
  }
}

const OWN_STREAMS: Kinds = new Map([
  ['postern.v1.Runs/Watch', 'serverStream'],
  ['grpc.health.v1.Health/Watch', 'serverStream'],
])

function kindsIn(methods: readonly { readonly name: string; readonly kind: string }[]): Kinds {
  const kinds = ['unary', 'serverStream', 'clientStream', 'bidi'] as const
  return new Map(
    methods.map(({ name, kind }) => [name, kinds.find((one) => one === kind) ?? 'unary']),
  )
}

function noJson(): RpcError {
  return new RpcError(
    'UNIMPLEMENTED',
    'the proxy takes protobuf; the API of the gateway takes JSON',
  )
}
