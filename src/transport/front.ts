import { BlockList, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Address } from '../base/address.ts'
import { ignoreErrors, on, once } from './edge.ts'
import { HandshakeGate, type HandshakeLimits } from './handshake-gate.ts'
import type { NetworkBudget } from './network-budget.ts'
import { peerAddress } from './peer-address.ts'
import { ProxyDoor } from './proxy-door.ts'
import type { TrustedProxies } from './trusted-proxies.ts'

/** The values and collaborators that Front is given. */
export interface FrontOptions {
  readonly address: Address
  readonly limits: HandshakeLimits
  readonly clock: Clock
  readonly logger: Logger
  readonly budget: NetworkBudget
  /** Who says by the PROXY protocol whom connections come from, and must; nobody else is asked. */
  readonly proxies: TrustedProxies
  /** A connection came; called before its handshake has its turn. */
  readonly onConnection?: (socket: Socket) => void
  /** Begins the handshake of a connection. */
  readonly begin: (socket: Socket) => void
  readonly onRefused: (error: PosternError, peer: string) => void
}

/** Where strangers knock: TCP connections, let through to TLS one by one. */
export class Front {
  readonly gate: HandshakeGate
  readonly #options: FrontOptions
  readonly #server: Server
  readonly #proxyDoor: ProxyDoor

  constructor(options: FrontOptions) {
    this.#options = options
    const { limits, clock, budget, proxies, begin } = options
    const refused =
      (code: 'HANDSHAKE_LIMIT' | 'PROXY_HEADER_INVALID') => (peer: string, reason: string) => {
        options.onRefused(new PosternError(code, reason), peer)
      }
    const onRefused = refused('HANDSHAKE_LIMIT')
    this.gate = new HandshakeGate(limits, { clock, budget, begin, onRefused })
    this.#proxyDoor = new ProxyDoor({
      ...{ clock, pendingMax: limits.pendingMax, timeoutMs: limits.timeoutMs },
      onRefused: refused('PROXY_HEADER_INVALID'),
      enter: (socket) => {
        if (this.gate.admits(peerAddress(socket))) this.#enter(socket)
        else socket.destroy()
      },
    })
    this.#server = createServer({ blockList: new Doorkeeper(this.gate, proxies) })
    on(this.#server, 'connection', (socket: Socket) => {
      ignoreErrors(socket)
      if (proxies.has(peerAddress(socket))) this.#proxyDoor.take(socket)
      else this.#enter(socket)
    })
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo> {
    const { address, logger } = this.#options
    const bound = await listenOn(this.#server, address)
    on(this.#server, 'error', (error: Error) => {
      logger.error({ err: error }, 'the listener failed')
    })
    return bound
  }

  /** Takes no more connections, and ends those that have not passed. */
  close(): void {
    this.#server.close()
    this.#proxyDoor.close()
    this.gate.close()
  }

  #enter(socket: Socket): void {
    this.#options.onConnection?.(socket)
    this.gate.enter(socket)
  }
}

/** Node asks a block list of every connection before it makes a socket for it. */
class Doorkeeper extends BlockList {
  readonly #gate: HandshakeGate
  readonly #proxies: TrustedProxies

  constructor(gate: HandshakeGate, proxies: TrustedProxies) {
    super()
    this.#gate = gate
    this.#proxies = proxies
  }

  override check(address: unknown): boolean {
    if (typeof address !== 'string' || this.#proxies.has(address)) return false
    return !this.#gate.admits(address)
  }
}

/** Binds a server. `what`: the setting, for the error. @throws LISTEN_FAILED */
export async function listenOn(
  server: Server,
  { host, port }: Address,
  what = '',
): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    const ignoreError = once(server, 'error', (error: NodeJS.ErrnoException) => {
      const text = `${what}${host}:${String(port)}: ${error.code ?? error.message}`
      reject(new PosternError('LISTEN_FAILED', text, { host, port }, { cause: error }))
    })
    server.listen(port, host, () => {
      ignoreError()
      resolve()
    })
  })
  return server.address() as AddressInfo
}
