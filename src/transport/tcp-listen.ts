import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Address } from '../config/address.ts'
import { PosternError } from '../base/errors.ts'

/** Listens for plain TCP connections, as the local end of a forward does. */
export class TcpListener {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(onConnection: (socket: Duplex) => void) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      onConnection(socket)
    })
  }

  /** Resolves to the address bound. @throws LISTEN_FAILED */
  async listen({ host, port }: Address): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => {
        const text = `${host}:${String(port)}: ${error.code ?? error.message}`
        reject(new PosternError('LISTEN_FAILED', text, { host, port }, { cause: error }))
      })
      this.#server.listen(port, host, resolve)
    })
    return this.#server.address() as AddressInfo
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}
