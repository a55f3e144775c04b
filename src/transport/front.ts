import { BlockList, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Address } from '../base/address.ts'
import { ignoreErrors, on, once } from './edge.ts'
import { HandshakeGate, type HandshakeLimits } from './handshake-gate.ts'
import type { NetworkBudget } from './network-budget.ts'

/** The values and collaborators that Front is given. */
export interface FrontOptions {
  readonly address: Address
  readonly limits: HandshakeLimits
  readonly clock: Clock
  readonly logger: Logger
  readonly budget: NetworkBudget
  /** A connection came; called before its handshake has its turn. */
  readonly onConnection?: (socket: Socket) => void
  /** Begins the handshake of a connection. */
  readonly begin: (socket: Socket) => void
  readonly onRefused: (address: string, reason: string) => void
}

/** Where strangers knock: TCP connections, let through to TLS one by one. */
export class Front {
  readonly gate: HandshakeGate
  readonly #options: FrontOptions
  readonly #server: Server

  constructor(options: FrontOptions) {
    this.#options = options
    const { limits, clock, budget, begin, onRefused } = options
    this.gate = new HandshakeGate(limits, { clock, budget, begin, onRefused })
    this.#server = createServer({ blockList: new Doorkeeper(this.gate) })
    on(this.#server, 'connection', (socket: Socket) => {
      ignoreErrors(socket)
      options.onConnection?.(socket)
      this.gate.enter(socket)
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
    this.gate.close()
  }
}

/** Node asks a block list of every connection before it makes a socket for it. */
class Doorkeeper extends BlockList {
  readonly #gate: HandshakeGate

  constructor(gate: HandshakeGate) {
    super()
    this.#gate = gate
  }

  override check(address: unknown): boolean {
    return typeof address === 'string' && !this.#gate.admits(address)
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
