import { createServer, type Server, type Socket } from 'node:net'
import type { Address } from '../base/address.ts'
import { PosternError } from '../base/errors.ts'
import { ignoreErrors, on, once } from '../transport/edge.ts'
import { listenOn } from '../transport/front.ts'

/** Connections that wait to be taken: one for each gateway that there may be, and some. */
const WAITING_MAX = 16

/** Decides whether a connection is the connector's. Undefined: it cannot be told. */
export type OwnerOf = (socket: Socket) => boolean | undefined

/**
 * Where a connector brings connections that gateways have dialled. Nothing is said to one before it is taken: then we begin the
 * handshake, as the client. Any process of this machine can connect here, so that those of strangers are let go.
 */
export class Inlet {
  readonly #server: Server
  readonly #isOurs: OwnerOf
  readonly #onWaiting: () => void
  readonly #waiting = new Map<Socket, () => void>()
  readonly #all = new Set<Socket>()
  #refused = 0
  #isClosed = false
  #takers: ((socket: Socket) => void)[] = []

  /** `onWaiting`: one came that nobody waits for. */
  constructor(isOurs: OwnerOf, onWaiting: () => void) {
    this.#isOurs = isOurs
    this.#onWaiting = onWaiting
    this.#server = createServer({ noDelay: true })
    this.#server.maxConnections = WAITING_MAX * 4
    on(this.#server, 'connection', (socket: Socket) => {
      this.#arrived(socket)
    })
  }

  /** Connections of others than the connector, since the start. */
  get refused(): number {
    return this.#refused
  }

  /** Those that were taken, and are open. */
  get taken(): number {
    return this.#all.size - this.#waiting.size
  }

  /** How many connections wait to be taken. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** @throws LISTEN_FAILED */
  async listen(address: Address): Promise<Address> {
    const { port } = await listenOn(this.#server, address, 'cloudflared.listen ')
    if (this.#isClosed) this.#server.close()
    return { host: address.host, port }
  }

  /** The connection that has waited longest, or the next that comes. @throws CONNECTOR_IDLE when the signal is aborted */
  async take(signal: AbortSignal): Promise<Socket> {
    const [found] = this.#waiting.keys()
    if (found !== undefined) return this.#handOut(found)
    const { promise, resolve, reject } = Promise.withResolvers<Socket>()
    const onAbort = (): void => {
      this.#takers = this.#takers.filter((taker) => taker !== resolve)
      const text = 'no gateway has dialled this agent through the connector in time'
      reject(new PosternError('CONNECTOR_IDLE', text))
    }
    if (signal.aborted) onAbort()
    else this.#takers.push(resolve)
    signal.addEventListener('abort', onAbort, { once: true })
    return await promise.finally(() => {
      signal.removeEventListener('abort', onAbort)
    })
  }

  /** Closes all that came here: a connector that is to end waits for them. */
  drop(): void {
    for (const socket of this.#all) socket.destroy()
  }

  /** For good, also where it is about to listen. */
  close(): void {
    this.#isClosed = true
    this.#server.close()
    this.drop()
  }

  #arrived(socket: Socket): void {
    ignoreErrors(socket)
    const isFull = this.#waiting.size >= WAITING_MAX
    if (isFull || this.#isOurs(socket) === false) {
      this.#refused++
      socket.destroy()
      return
    }
    this.#all.add(socket)
    once(socket, 'close', () => {
      this.#all.delete(socket)
      this.#waiting.delete(socket)
    })
    this.#waiting.set(socket, this.#watch(socket))
    const taker = this.#takers.shift()
    if (taker === undefined) this.#onWaiting()
    else taker(this.#handOut(socket))
  }

  /** Nothing comes before we have spoken, but the end. Returns how to stop looking. */
  #watch(socket: Socket): () => void {
    const end = (): void => {
      socket.destroy()
    }
    const offs = [on(socket, 'data', end), once(socket, 'end', end)]
    return () => {
      for (const off of offs) off()
      socket.pause()
    }
  }

  #handOut(socket: Socket): Socket {
    this.#waiting.get(socket)?.()
    this.#waiting.delete(socket)
    return socket
  }
}
