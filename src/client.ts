/**
 * The public API for control-plane services: connect to a gateway, call clusters behind it.
 *
 *     const gateway = await connectGateway({ address: { host: 'gw', port: 7444 }, trustDomain, files })
 *     const health = gateway.cluster('eu-1').service(Health)
 *     await health.check({ service: '' }, { timeoutMs: 5000 })
 *     gateway.close()
 */
import type { DescService } from '@bufbuild/protobuf'
import type { Duplex } from 'node:stream'
import { PosternError } from './base/errors.ts'
import { silentLogger, type Logger } from './base/logger.ts'
import { systemClock } from './base/system-clock.ts'
import { systemRandom } from './base/random.ts'
import type { Address } from './config/address.ts'
import { CALLER_SETTINGS, type CallerSettings } from './config/gateway-settings.ts'
import { Gateway, type Cluster } from './gen/postern/v1/gateway_pb.js'
import { readCredential, type KeyFilePaths } from './identity/key-files.ts'
import type { CallOptions, RpcChannel } from './rpc/channel.ts'
import { clientOf, type Client } from './rpc/typed.ts'
import { dialTls } from './transport/tls-dial.ts'
import { processParts } from './tunnel/process-parts.ts'
import { RpcConnection } from './tunnel/rpc-connection.ts'
import { StreamBridge } from './tunnel/stream-bridge.ts'

export { PosternError, type ErrorCode } from './base/errors.ts'
export { RpcError, type StatusName } from './rpc/status.ts'
export type { CallOptions } from './rpc/channel.ts'
export type { Client } from './rpc/typed.ts'
export type { Address } from './config/address.ts'
export type { KeyFilePaths } from './identity/key-files.ts'
export { Health } from './gen/grpc/health/v1/health_pb.js'
export { Diagnostics } from './gen/postern/v1/diagnostics_pb.js'

export interface ConnectOptions {
  /** The caller listener of the gateway. */
  readonly address: Address
  /** DNS name that the gateway's certificate must hold. Default: the host of `address`. */
  readonly serverName?: string
  readonly trustDomain: string
  /** A certificate of role caller, its key, and the roots to trust. */
  readonly files: KeyFilePaths
  /** Longest time to connect, in ms. Default 10 000. */
  readonly timeoutMs?: number
  readonly logger?: Logger
  /** Session settings by their names in docs/SETTINGS.md. Default: those of the commands. */
  readonly settings?: Partial<CallerSettings>
}

const CONNECT_MS = 10_000

/**
 * Connects once; a connection that is lost is not made again, as only the caller knows which of its
 * calls may be repeated. @throws PosternError with the network, TLS and identity codes
 */
export async function connectGateway(options: ConnectOptions): Promise<GatewayClient> {
  const { address, serverName, trustDomain, files, timeoutMs = CONNECT_MS } = options
  const ambient = {
    clock: systemClock,
    random: systemRandom,
    logger: options.logger ?? silentLogger,
  }
  const credential = readCredential(files, 'caller', systemClock.wallMs())
  const parts = processParts({ ...defaultSettings(), ...options.settings }, ambient)
  const expected = { trustDomain, roles: ['gateway'] as const }
  const signal = AbortSignal.timeout(timeoutMs)
  const nowMs = systemClock.wallMs()
  const wire = await dialTls({ ...address, serverName, credential, expected, signal, nowMs })
  return await new Promise((resolve, reject) => {
    const client: { current?: GatewayClient } = {}
    signal.addEventListener('abort', () => {
      if (client.current !== undefined) return
      reject(new PosternError('DIAL_TIMEOUT', 'the gateway sent no hello in time'))
      wire.destroy()
    })
    new RpcConnection(wire, 'dialer', parts, {
      onReady: (connection) => {
        client.current = new GatewayClient(connection)
        resolve(client.current)
      },
      onOpen: (stream) => {
        stream.refuse('METHOD_UNKNOWN', false, 'a caller serves nothing')
      },
      onClosed: (_connection, error) => {
        client.current?.lost(error)
        reject(error)
      },
    })
  })
}

function defaultSettings(): CallerSettings {
  const entries = Object.entries(CALLER_SETTINGS).map(([key, setting]) => [
    key,
    setting.defaultValue as unknown,
  ])
  return Object.fromEntries(entries) as CallerSettings
}

/** One connection to a gateway. */
export class GatewayClient {
  readonly #connection: RpcConnection
  readonly #closed = Promise.withResolvers<PosternError>()

  /** @internal Made by connectGateway. */
  constructor(connection: RpcConnection) {
    this.#connection = connection
  }

  /** Calls to one cluster. Nothing is sent until the first call. */
  cluster(name: string): ClusterClient {
    return new ClusterClient(this.#connection, this.#connection.channel(name))
  }

  /** Calls that the gateway itself answers. */
  self(): ClusterClient {
    return this.cluster('')
  }

  /** The connected clusters with their tunnels, without methods and services. @throws RpcError */
  async listClusters(options?: CallOptions): Promise<Cluster[]> {
    const { clusters } = await this.self().service(Gateway).listClusters({}, options)
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

  /** Last measured round trip to the gateway, in ms. */
  get rttMs(): number | undefined {
    return this.#connection.session.rttMs
  }

  /** Ends the connection; calls that still run fail. */
  close(): void {
    this.#connection.close(new PosternError('SHUTDOWN', 'the caller has finished'))
  }

  /** @internal */
  lost(error: PosternError): void {
    this.#closed.resolve(error)
  }
}

/** Calls and forwards to one cluster. */
export class ClusterClient {
  readonly #connection: RpcConnection
  /** Calls by name and bytes, where there are no generated types. */
  readonly channel: RpcChannel

  /** @internal Made by GatewayClient.cluster. */
  constructor(connection: RpcConnection, channel: RpcChannel) {
    this.#connection = connection
    this.channel = channel
  }

  /** A typed client of a service, from its generated description. */
  service<S extends DescService>(service: S): Client<S> {
    return clientOf(service, this.channel)
  }

  /**
   * Joins a local connection to a named service of the cluster, until either side ends.
   * Resolves when the local connection is closed: with a code unless all went well. A deadline is
   * for all of it, not for its opening alone.
   */
  forward(
    service: string,
    socket: Duplex,
    options: CallOptions = {},
  ): Promise<PosternError['code'] | undefined> {
    const { signal, timeoutMs = 0 } = options
    return new Promise((resolve) => {
      const onAbort = (): void => {
        bridge.abort('CANCELLED')
      }
      const cancelDeadline =
        timeoutMs === 0
          ? undefined
          : systemClock.startTimer(timeoutMs, () => {
              bridge.abort('DEADLINE_EXCEEDED')
            })
      const bridge = new StreamBridge(socket, systemClock, (code) => {
        cancelDeadline?.()
        signal?.removeEventListener('abort', onAbort)
        resolve(code)
      })
      signal?.addEventListener('abort', onAbort, { once: true })
      try {
        bridge.attach(this.channel.forward(service, bridge, options))
      } catch (error) {
        cancelDeadline?.()
        socket.destroy()
        resolve(error instanceof PosternError ? error.code : 'INTERNAL')
      }
    })
  }

  get isOpen(): boolean {
    return this.#connection.session.isOpen
  }
}
