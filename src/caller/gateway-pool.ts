import type { DescService } from '@bufbuild/protobuf'
import type { Duplex } from 'node:stream'
import { ERROR_CODES } from '../base/error-codes.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { pause } from '../base/pause.ts'
import type { Clock } from '../base/clock.ts'
import { addressText, type Address } from '../base/address.ts'
import type { Cluster } from '../gen/postern/v1/gateway_pb.js'
import type { CallOptions } from '../rpc/channel.ts'
import { rpcErrorOfCode } from '../rpc/status.ts'
import { clientOf, type CallChannel, type Client } from '../rpc/typed.ts'
import { backoffMs } from '../tunnel/backoff.ts'
import {
  ambientOf,
  dialGateway,
  givenUp,
  type ConnectionOptions,
  type DialOptions,
} from './connect.ts'
import { areUsable, markOf } from './credentials.ts'
import type { ClusterClient, GatewayClient, ListOptions } from './gateway-client.ts'
import { settled, type Forwarded, type ForwardEnd } from './join-forward.ts'
import type { SealOptions } from './sealed-cluster.ts'
import { RetryingChannel, type Way } from './retrying-channel.ts'

/** The values and collaborators that `connect` is given. */
export interface ConnectOptions extends ConnectionOptions {
  /** The caller listener of each gateway. */
  readonly addresses: readonly Address[]
}

const STABLE_MS = 10_000
/** How often the credentials are looked at. */
const RENEWED_LOOK_MS = 2000
/** How long a forward waits for a gateway while none is connected. */
const FORWARD_WAIT_MS = 10_000
const FORWARD_POLL_MS = 50
const BACKOFF = { minMs: 100, maxMs: 10_000 }

/**
 * Connects to each of several gateways, and keeps doing so: a connection that is lost, or whose gateway
 * drains, is made again. Resolves once one is up. @throws what the last one failed with, where none is
 */
export async function connectPool(options: ConnectOptions): Promise<GatewayPool> {
  const { signal } = options
  const isGivenUp = (): boolean => signal?.aborted === true
  if (isGivenUp()) throw givenUp()
  const gateways = new GatewayPool(options)
  const giveUp = (): void => {
    gateways.close()
  }
  signal?.addEventListener('abort', giveUp, { once: true })
  try {
    await gateways.connected()
    return gateways
  } catch (error) {
    gateways.close()
    throw isGivenUp() ? givenUp() : error
  } finally {
    signal?.removeEventListener('abort', giveUp)
  }
}

/** One address, and the connection to it while there is one. */
class KeptConnection {
  client: GatewayClient | undefined
  readonly first: Promise<void>
  readonly #options: DialOptions
  readonly #ambient: ReturnType<typeof ambientOf>
  readonly #over = new AbortController()
  /** The one in use, and those that finish their calls. */
  readonly #clients = new Set<GatewayClient>()

  constructor(options: DialOptions) {
    this.#options = options
    this.#ambient = ambientOf(options)
    const { promise, resolve, reject } = Promise.withResolvers<undefined>()
    this.first = promise
    promise.catch(() => undefined)
    void this.#keep(() => {
      resolve(undefined)
    }, reject)
  }

  close(): void {
    this.#over.abort()
    for (const client of this.#clients) client.close()
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted
  }

  /** Whether the credentials have changed before the gateway took no more calls. */
  async #leavingOrRenewed(client: GatewayClient, signal: AbortSignal): Promise<boolean> {
    const over = new AbortController()
    const both = AbortSignal.any([signal, over.signal])
    const { credentials } = this.#options
    const { clock } = this.#ambient
    const before = await markOf(credentials)
    const renewed = async (): Promise<boolean> => {
      while (!both.aborted) {
        await pause(clock, RENEWED_LOOK_MS, both, false)
        const now = await markOf(credentials)
        if (now === undefined || now === before) continue
        if (await areUsable(credentials, clock.wallMs())) return true
      }
      return false
    }
    const isRenewed = await Promise.race([client.leaving.then(() => false), renewed()])
    over.abort()
    return isRenewed
  }

  async #keep(onUp: () => void, onFailed: (error: unknown) => void): Promise<void> {
    const { signal } = this.#over
    const { clock, random } = this.#ambient
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const client = await dialGateway({ ...this.#options, signal })
        this.client = client
        this.#clients.add(client)
        void client.closed.then(() => this.#clients.delete(client))
        const upAtMs = clock.nowMs()
        // It may have been told to close meanwhile.
        if (this.#isOver) client.close()
        onUp()
        const isRenewed = await this.#leavingOrRenewed(client, signal)
        if (isRenewed) {
          // The next one is made under the new certificate; this one finishes what runs.
          client.retire()
          attempt = -1
          continue
        }
        // One that hangs up at once does not get us to come back at once for ever.
        if (clock.nowMs() - upAtMs >= STABLE_MS) attempt = 0
      } catch (error) {
        onFailed(error)
        if (this.#isOver) return
        const { code, rawMessage: reason } = asPosternError(error)
        const peer = addressText(this.#options.address)
        this.#options.logger?.warn({ peer, code, reason }, 'a gateway cannot be reached')
      }
      await pause(clock, backoffMs(attempt, BACKOFF, random), signal)
    }
  }
}

/** Connections to several gateways of one control plane. Ends them by `await using`, too. */
export class GatewayPool implements AsyncDisposable {
  readonly #kept: readonly KeptConnection[]
  readonly #closed = new AbortController()
  readonly #ambient: ReturnType<typeof ambientOf>
  #turn = 0

  /** @internal Made by connectPool. */
  constructor({ addresses, ...options }: ConnectOptions) {
    if (addresses.length === 0)
      throw new PosternError('CONFIG_INVALID', 'addresses: name one gateway at least')
    this.#ambient = ambientOf(options)
    this.#kept = addresses.map((address) => new KeptConnection({ ...options, address }))
  }

  /** @internal */
  async connected(): Promise<void> {
    try {
      await Promise.any(this.#kept.map(({ first }) => first))
    } catch (error) {
      throw (error as AggregateError).errors.at(-1)
    }
  }

  /** How many of the gateways are connected. */
  get connectedCount(): number {
    return this.#kept.filter(({ client }) => client?.isOpen === true).length
  }

  /** Calls to one cluster, over whichever gateway has it. `seal`: all of them are sealed. */
  cluster(name: string, seal?: SealOptions): PooledCluster {
    const way = (client: GatewayClient): PooledWay =>
      seal === undefined ? client.cluster(name) : client.sealed(name, seal)
    return new PooledCluster(way, () => this.#open(), this.#closed.signal, this.#ambient)
  }

  /**
   * The clusters that any of the gateways has, each once. `away`: also those that are not connected. @throws RpcError where none of them answers
   */
  async listClusters(options?: ListOptions): Promise<Cluster[]> {
    const open = this.#open()
    if (open.length === 0) throw rpcErrorOfCode('CONNECTION_LOST', 'no gateway is connected', true)
    const answers = await Promise.allSettled(open.map((client) => client.listClusters(options)))
    const lists = answers.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const [failed] = answers.flatMap((one) =>
      one.status === 'rejected' ? [one.reason as Error] : [],
    )
    if (lists.length === 0 && failed !== undefined) throw failed
    const byName = new Map(lists.flat().map((cluster) => [cluster.name, cluster]))
    return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** One connected cluster, with the methods and services of its tunnels, from whichever gateway has it. @throws RpcError NOT_FOUND */
  async getCluster(name: string, options?: CallOptions): Promise<Cluster> {
    let last: unknown = rpcErrorOfCode('CONNECTION_LOST', 'no gateway is connected', true)
    for (const client of this.#open()) {
      try {
        return await client.getCluster(name, options)
      } catch (error) {
        last = error
      }
    }
    throw last
  }

  /** Ends every connection; calls that still run fail. */
  close(): void {
    this.#closed.abort()
    for (const one of this.#kept) one.close()
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close()
    return Promise.resolve()
  }

  /** Those that are open, beginning with another one each time. */
  #open(): GatewayClient[] {
    const open = this.#kept.flatMap(({ client }) => (client?.isOpen === true ? [client] : []))
    const from = this.#turn++ % Math.max(1, open.length)
    return [...open.slice(from), ...open.slice(0, from)]
  }
}

/** One gateway's way to a cluster. */
type PooledWay = Way & Pick<ClusterClient, 'offer'>

/** Calls and forwards to one cluster through any of several gateways. */
export class PooledCluster {
  /** Calls by name and bytes, where there are no generated types. */
  readonly channel: CallChannel
  readonly #make: (client: GatewayClient) => PooledWay
  readonly #open: () => readonly GatewayClient[]
  readonly #closed: AbortSignal
  readonly #clock: Clock
  readonly #ways = new WeakMap<GatewayClient, PooledWay>()

  /** @internal Made by GatewayPool.cluster. */
  constructor(
    make: (client: GatewayClient) => PooledWay,
    open: () => readonly GatewayClient[],
    closed: AbortSignal,
    ambient: ReturnType<typeof ambientOf>,
  ) {
    this.#make = make
    this.#clock = ambient.clock
    this.#open = open
    this.#closed = closed
    const next = (tried: ReadonlySet<Way>): PooledWay | undefined =>
      this.#open()
        .map((client) => this.#wayThrough(client))
        .find((way) => !tried.has(way))
    this.channel = new RetryingChannel({ ...ambient, next, closed })
  }

  /** A typed client of a service, from its generated description. */
  service<S extends DescService>(service: S): Client<S> {
    return clientOf(service, this.channel)
  }

  /**
   * Joins a local connection to a named service of the cluster until either side ends, over one gateway: bytes that have flowed are
   * not sent again. Resolves when the local connection is closed. A deadline is for all of it, not for its opening alone.
   * @throws PosternError with the code of a refusal or a loss; the local connection is destroyed then
   */
  async forward(service: string, socket: Duplex, options: CallOptions = {}): Promise<Forwarded> {
    return await settled(this.#forward(service, socket, options))
  }

  async #forward(service: string, socket: Duplex, options: CallOptions): Promise<ForwardEnd> {
    const endAtMs = this.#clock.nowMs() + FORWARD_WAIT_MS
    while (this.#clock.nowMs() < endAtMs && !this.#closed.aborted && !socket.destroyed) {
      const [client] = this.#open()
      if (client !== undefined) {
        const refused: { code?: PosternError['code'] } = {}
        const mayRetry = (code: PosternError['code']): boolean => {
          if (ERROR_CODES[code].recovery !== 'retry' || this.#clock.nowMs() >= endAtMs) return false
          refused.code = code
          return true
        }
        const end = await this.#wayThrough(client).offer(service, socket, options, mayRetry)
        if (refused.code === undefined) return end
      }
      await pause(this.#clock, FORWARD_POLL_MS, this.#closed)
    }
    socket.destroy()
    return { code: 'CONNECTION_LOST', bytesIn: 0, bytesOut: 0 }
  }

  #wayThrough(client: GatewayClient): PooledWay {
    const known = this.#ways.get(client)
    if (known !== undefined) return known
    const way = this.#make(client)
    this.#ways.set(client, way)
    return way
  }
}
