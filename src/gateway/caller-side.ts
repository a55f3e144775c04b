import { PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { healthOffers, HealthBoard } from '../dataplane/health.ts'
import { diagnosticsOffers } from '../dataplane/diagnostics.ts'
import type { MuxStream } from '../mux/stream.ts'
import { RpcServer } from '../rpc/server.ts'
import { RpcConnection, type PeerWire, type ProcessParts } from '../tunnel/rpc-connection.ts'
import { encodeName, readHead, type OpenHead } from '../wire/open-head.ts'
import { gatewayOffers } from './gateway-service.ts'
import type { Registry } from './registry.ts'
import { Relay } from './relay.ts'

export interface CallerSideOptions {
  readonly parts: ProcessParts
  readonly registry: Registry
  readonly logger: Logger
}

/** The gateway towards control-plane services: relays their calls, and answers some itself. */
export class CallerSide {
  readonly connections = new Set<RpcConnection>()
  relayed = 0
  readonly #options: CallerSideOptions
  readonly #server: RpcServer

  constructor(options: CallerSideOptions) {
    this.#options = options
    const { runtime } = options.parts
    // Every verified caller may ask the gateway about itself; clusters have policies of their own.
    this.#server = new RpcServer(runtime, () => undefined)
    const own = [
      ...gatewayOffers(options.registry),
      ...healthOffers(new HealthBoard()),
      ...diagnosticsOffers(runtime.clock),
    ]
    for (const offer of own) this.#server.offer(offer)
  }

  /** A TLS connection whose peer was judged to be a caller. */
  take(wire: PeerWire): void {
    const { parts, logger } = this.#options
    const { identity, address } = wire.facts
    const caller = identity.role === 'caller' ? identity.caller : ''
    const callerName = encodeName(caller)
    const facts = { peer: address, caller }
    const connection = new RpcConnection(wire, 'acceptor', parts, {
      onReady: () => {
        logger.debug(facts, 'caller connected')
      },
      onOpen: (stream, bytes, start, end, isEnded) => {
        let head: OpenHead
        try {
          head = readHead(bytes, start, end)
        } catch (error) {
          stream.refuse(
            'MALFORMED_CALL',
            false,
            error instanceof PosternError ? error.rawMessage : '',
          )
          return
        }
        if (head.cluster === '') {
          const arrival = { callerOf: () => caller, nowMs: connection.session.nowMs }
          this.#server.open(stream, arrival, bytes, start, end, isEnded)
        } else this.#relay(stream, callerName, { head, bytes, start, end, isEnded })
      },
      onClosed: (closed, error) => {
        this.connections.delete(closed)
        logger.debug({ ...facts, code: error.code, reason: error.rawMessage }, 'caller left')
      },
    })
    this.connections.add(connection)
  }

  #relay(stream: MuxStream, caller: Buffer, open: ConstructorParameters<typeof Relay>[3]): void {
    const tunnel = this.#options.registry.pick(open.head.cluster)
    if (tunnel === undefined) {
      stream.refuse(
        'CLUSTER_UNKNOWN',
        true,
        `no tunnel of cluster ${open.head.cluster} is connected`,
      )
      return
    }
    this.relayed++
    new Relay(stream, tunnel.connection.session, caller, open)
  }
}
