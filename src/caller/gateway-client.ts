import type { DescService } from '@bufbuild/protobuf'
import type { Duplex } from 'node:stream'
import { PosternError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import { Gateway, type Cluster } from '../gen/postern/v1/gateway_pb.js'
import type { CallOptions, RpcChannel } from '../rpc/channel.ts'
import { clientOf, type Client } from '../rpc/typed.ts'
import type { ProcessParts, RpcConnection } from '../tunnel/rpc-connection.ts'
import { joinForward, settled, type Forwarded, type ForwardEnd } from './join-forward.ts'
import { SealedCluster, type SealOptions } from './sealed-cluster.ts'

/** One connection to a gateway. */
export class GatewayClient {
  readonly #connection: RpcConnection
  readonly #parts: ProcessParts
  readonly #sealed = new Set<SealedCluster>()
  readonly #closed = Promise.withResolvers<PosternError>()
  readonly #leaving = Promise.withResolvers<undefined>()

  /** @internal Made by dialGateway. */
  constructor(connection: RpcConnection, parts: ProcessParts) {
    this.#connection = connection
    this.#parts = parts
  }

  /** Calls to one cluster. Nothing is sent until the first call. */
  cluster(name: string): ClusterClient {
    const { clock } = this.#parts.runtime
    return new ClusterClient(this.#connection, this.#connection.channel(name), clock)
  }

  /**
   * Calls to one cluster that no gateway can read or alter: they go through a session of their own with one of its
   * agents. Nothing is sent until the first call; there is no way back to calls that are not sealed.
   */
  sealed(name: string, seal: SealOptions): SealedCluster {
    const sealed = new SealedCluster(this.#connection.channel(name), name, seal, this.#parts)
    this.#sealed.add(sealed)
    return sealed
  }

  /** Calls that the gateway itself answers. */
  self(): ClusterClient {
    return this.cluster('')
  }

  /**
   * The connected clusters with their tunnels, without methods and services. `away`: also agents that are not connected, and clusters
   * of which none is, as the gateway's store has them; the 1000 that were last seen. @throws RpcError
   */
  async listClusters({ away = false, ...options }: ListOptions = {}): Promise<Cluster[]> {
    const { clusters } = await this.self().service(Gateway).listClusters({ away }, options)
    return clusters
  }

  /** One connected cluster, with the methods and services of its tunnels. @throws RpcError NOT_FOUND */
  async getCluster(name: string, options?: CallOptions): Promise<Cluster> {
    return await this.self().service(Gateway).getCluster({ name }, options)
  }

  /** Resolves, with the reason, when the connection has ended. */
  get closed(): Promise<PosternError> {
    return this.#closed.promise
  }

  /** Resolves when the gateway takes no new calls here: it drains, or the connection has ended. */
  get leaving(): Promise<void> {
    return this.#leaving.promise
  }

  /** New calls may be made. */
  get isOpen(): boolean {
    return this.#connection.session.isOpen
  }

  /** Last measured round trip to the gateway, in ms. */
  get rttMs(): number | undefined {
    return this.#connection.session.rttMs
  }

  /** Ends the connection; calls that still run fail. */
  close(): void {
    for (const one of this.#sealed) one.close()
    this.#connection.close(new PosternError('SHUTDOWN', 'the caller has finished'))
  }

  /** @internal Takes no new calls, and ends when those that run have. */
  retire(): void {
    this.isRetired = true
    for (const one of this.#sealed) one.retire()
    this.#connection.session.goAway('GOING_AWAY', 'the caller goes over to another connection')
  }

  /** @internal */
  isRetired = false

  /** @internal */
  wentAway(): void {
    for (const one of this.#sealed) one.retire()
    this.#leaving.resolve(undefined)
  }

  /** @internal */
  lost(error: PosternError): void {
    this.#leaving.resolve(undefined)
    this.#closed.resolve(error)
  }
}

/** Options of `listClusters`. */
export type ListOptions = CallOptions & { readonly away?: boolean }

/** Calls and forwards to one cluster. */
export class ClusterClient {
  readonly #connection: RpcConnection
  readonly #clock: Clock
  /** Calls by name and bytes, where there are no generated types. */
  readonly channel: RpcChannel

  /** @internal Made by GatewayClient.cluster. */
  constructor(connection: RpcConnection, channel: RpcChannel, clock: Clock) {
    this.#connection = connection
    this.#clock = clock
    this.channel = channel
  }

  /** A typed client of a service, from its generated description. */
  service<S extends DescService>(service: S): Client<S> {
    return clientOf(service, this.channel)
  }

  /**
   * Joins a local connection to a named service of the cluster, until either side ends.
   * Resolves when the local connection is closed. A deadline is for all of it, not for its opening alone.
   * @throws PosternError with the code of a refusal or a loss
   */
  forward(service: string, socket: Duplex, options: CallOptions = {}): Promise<Forwarded> {
    return settled(this.offer(service, socket, options))
  }

  /** @internal As `forward`; where `mayRetry` takes the code of a refusal, the local connection is left as it was. */
  offer(
    service: string,
    socket: Duplex,
    options: CallOptions,
    mayRetry?: (code: PosternError['code']) => boolean,
  ): Promise<ForwardEnd> {
    return joinForward(
      { channel: this.channel, clock: this.#clock },
      service,
      socket,
      options,
      mayRetry,
    )
  }

  get isOpen(): boolean {
    return this.#connection.session.isOpen
  }
}
