import type { DescService } from '@bufbuild/protobuf'
import type { Duplex } from 'node:stream'
import { asPosternError, PosternError } from '../base/errors.ts'
import { pause } from '../base/pause.ts'
import { systemRandom } from '../base/random.ts'
import { systemClock } from '../base/system-clock.ts'
import { addressText, type Address } from '../config/address.ts'
import type { Cluster } from '../gen/postern/v1/gateway_pb.js'
import type { CallOptions } from '../rpc/channel.ts'
import { rpcErrorOfCode } from '../rpc/status.ts'
import { clientOf, type CallChannel, type Client } from '../rpc/typed.ts'
import { backoffMs } from '../tunnel/backoff.ts'
import { connectGateway, type ConnectOptions } from './connect.ts'
import type { ClusterClient, GatewayClient } from './gateway-client.ts'
import { RetryingChannel, type Way } from './retrying-channel.ts'

export interface ConnectGatewaysOptions extends Omit<ConnectOptions, 'address'> {
  /** The caller listener of each gateway. */
  readonly addresses: readonly Address[]
}

const STABLE_MS = 10_000
const BACKOFF = { minMs: 100, maxMs: 10_000 }

/**
 * Connects to each of several gateways, and keeps doing so: a connection that is lost, or whose gateway
 * drains, is made again. Resolves once one is up. @throws what the last one failed with, where none is
 */
export async function connectGateways(options: ConnectGatewaysOptions): Promise<GatewaysClient> {
  const gateways = new GatewaysClient(options)
  try {
    await gateways.connected()
    return gateways
  } catch (error) {
    gateways.close()
    throw error
  }
}

/** One address, and the connection to it while there is one. */
class Slot {
  client: GatewayClient | undefined
  readonly first: Promise<void>
  readonly #options: ConnectOptions
  readonly #over = new AbortController()
  /** The one in use, and those that finish their calls. */
  readonly #clients = new Set<GatewayClient>()

  constructor(options: ConnectOptions) {
    this.#options = options
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

  async #keep(onUp: () => void, onFailed: (error: unknown) => void): Promise<void> {
    const { signal } = this.#over
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const client = await connectGateway(this.#options)
        this.client = client
        this.#clients.add(client)
        void client.closed.then(() => this.#clients.delete(client))
        const upAtMs = systemClock.nowMs()
        // It may have been told to close meanwhile.
        if (this.#isOver) client.close()
        onUp()
        await client.leaving
        // One that hangs up at once does not get us to come back at once for ever.
        if (systemClock.nowMs() - upAtMs >= STABLE_MS) attempt = 0
      } catch (error) {
        onFailed(error)
        const { code, rawMessage: reason } = asPosternError(error)
        const peer = addressText(this.#options.address)
        this.#options.logger?.warn({ peer, code, reason }, 'a gateway cannot be reached')
      }
      await pause(systemClock, backoffMs(attempt, BACKOFF, systemRandom), signal)
    }
  }
}

/** Connections to several gateways of one control plane. */
export class GatewaysClient {
  readonly #slots: readonly Slot[]
  readonly #closed = new AbortController()
  #turn = 0

  /** @internal Made by connectGateways. */
  constructor({ addresses, ...options }: ConnectGatewaysOptions) {
    if (addresses.length === 0)
      throw new PosternError('CONFIG_INVALID', 'addresses: name one gateway at least')
    this.#slots = addresses.map((address) => new Slot({ ...options, address }))
  }

  /** @internal */
  async connected(): Promise<void> {
    try {
      await Promise.any(this.#slots.map(({ first }) => first))
    } catch (error) {
      throw (error as AggregateError).errors.at(-1)
    }
  }

  /** How many of the gateways are connected. */
  get connectedCount(): number {
    return this.#slots.filter(({ client }) => client?.isOpen === true).length
  }

  /** Calls to one cluster, over whichever gateway has it. */
  cluster(name: string): ClusterOfGateways {
    return new ClusterOfGateways(name, () => this.#open(), this.#closed.signal)
  }

  /**
   * The clusters that any of the gateways has, each once. @throws RpcError where none of them answers
   */
  async listClusters(options?: CallOptions): Promise<Cluster[]> {
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

  /** Ends every connection; calls that still run fail. */
  close(): void {
    this.#closed.abort()
    for (const slot of this.#slots) slot.close()
  }

  /** Those that are open, beginning with another one each time. */
  #open(): GatewayClient[] {
    const open = this.#slots.flatMap(({ client }) => (client?.isOpen === true ? [client] : []))
    const from = this.#turn++ % Math.max(1, open.length)
    return [...open.slice(from), ...open.slice(0, from)]
  }
}

/** Calls and forwards to one cluster through any of several gateways. */
export class ClusterOfGateways {
  /** Calls by name and bytes, where there are no generated types. */
  readonly channel: CallChannel
  readonly #name: string
  readonly #open: () => readonly GatewayClient[]
  readonly #ways = new WeakMap<GatewayClient, ClusterClient>()

  /** @internal Made by GatewaysClient.cluster. */
  constructor(name: string, open: () => readonly GatewayClient[], closed: AbortSignal) {
    this.#name = name
    this.#open = open
    const next = (tried: ReadonlySet<Way>): ClusterClient | undefined =>
      this.#open()
        .map((client) => this.#wayThrough(client))
        .find((way) => !tried.has(way))
    this.channel = new RetryingChannel({ clock: systemClock, random: systemRandom, next, closed })
  }

  /** A typed client of a service, from its generated description. */
  service<S extends DescService>(service: S): Client<S> {
    return clientOf(service, this.channel)
  }

  /** As ClusterClient.forward, over one gateway: bytes that have flowed are not sent again. */
  async forward(
    service: string,
    socket: Duplex,
    options: CallOptions = {},
  ): Promise<PosternError['code'] | undefined> {
    const [client] = this.#open()
    if (client !== undefined)
      return await this.#wayThrough(client).forward(service, socket, options)
    socket.destroy()
    return 'CONNECTION_LOST'
  }

  #wayThrough(client: GatewayClient): ClusterClient {
    const known = this.#ways.get(client)
    if (known !== undefined) return known
    const way = client.cluster(this.#name)
    this.#ways.set(client, way)
    return way
  }
}
