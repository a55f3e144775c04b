import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Address } from '../base/address.ts'
import { on, once } from './edge.ts'
import { listenOn } from './front.ts'

/** Listens for plain TCP connections, as the local end of a forward does. */
export class TcpListener {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(onConnection: (socket: Duplex) => void) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true })
    on(this.#server, 'connection', (socket: Socket) => {
      this.#sockets.add(socket)
      once(socket, 'close', () => this.#sockets.delete(socket))
      onConnection(socket)
    })
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen(address: Address): Promise<AddressInfo> {
    return await listenOn(this.#server, address)
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}
