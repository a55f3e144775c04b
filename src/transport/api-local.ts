import { Socket, type AddressInfo } from 'node:net'
import type { Address } from '../base/address.ts'
import type { Clock } from '../base/clock.ts'
import type { ApiExchange, ApiPeer } from './api-exchange.ts'
import { ApiServers } from './api-servers.ts'
import { ConnectionShares } from './connection-shares.ts'
import { ignoreErrors, once } from './edge.ts'
import { UnixListener } from './local-socket.ts'
import { TcpListener } from './tcp-listen.ts'

/** What HTTP/2 begins with (RFC 9113 section 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0')
const CONNECTIONS = { max: 1024, perNetworkMax: 1024 }
/** A connection that says nothing for so long is none, in ms. */
const FIRST_MS_MAX = 10_000

/** Where a program on this machine calls. */
export type LocalPlace = { readonly address: Address } | { readonly path: string }

/** HTTP/2 and HTTP/1.1 in plain, for programs on this machine: which of them a connection speaks its first bytes say. */
export class LocalApi {
  readonly #servers: ApiServers
  readonly #clock: Clock
  readonly #listener: TcpListener | UnixListener
  readonly #place: LocalPlace
  readonly #shares = new ConnectionShares(CONNECTIONS)
  #count = 0

  constructor(place: LocalPlace, clock: Clock, onRequest: (exchange: ApiExchange) => void) {
    this.#place = place
    this.#clock = clock
    this.#servers = new ApiServers(clock, onRequest)
    this.#listener =
      'path' in place
        ? new UnixListener(place.path, 'owner', (socket) => {
            this.#enter(socket)
          })
        : new TcpListener((socket) => {
            if (socket instanceof Socket) this.#enter(socket)
          })
  }

  /** Resolves to the address bound; undefined for a unix socket. @throws LISTEN_FAILED */
  async listen(): Promise<AddressInfo | undefined> {
    this.#servers.start()
    if (this.#listener instanceof UnixListener) {
      await this.#listener.listen()
      return undefined
    }
    return 'address' in this.#place ? await this.#listener.listen(this.#place.address) : undefined
  }

  close(): void {
    this.#listener.close()
    this.#servers.close()
  }

  #enter(socket: Socket): void {
    ignoreErrors(socket)
    this.#shares.enter(socket)
    const number = String(++this.#count)
    const peer: ApiPeer = {
      ...{ facts: undefined, serverName: '', address: `local ${number}`, network: 'local' },
    }
    const cancel = this.#clock.startTimer(FIRST_MS_MAX, () => socket.destroy())
    once(socket, 'close', cancel)
    once(socket, 'readable', () => {
      cancel()
      const first = socket.read() as Buffer | null
      if (first === null) {
        socket.destroy()
        return
      }
      socket.unshift(first)
      // Even the first few bytes tell: no method of HTTP begins with these.
      const isHttp2 =
        first.length >= 3 &&
        PREFACE.subarray(0, first.length).equals(first.subarray(0, PREFACE.length))
      this.#servers.take(socket, peer, isHttp2)
    })
  }
}
