import type { Socket } from 'node:net'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { on, once } from './edge.ts'
import { noteSource, peerKey } from './peer-address.ts'
import { readProxyHeader } from './proxy-header.ts'

/** The values and collaborators that `ProxyDoor` is given. */
export interface ProxyDoorPorts {
  readonly clock: Clock
  /** Connections that have not told yet whom they come from. Crossed: the oldest is closed. */
  readonly pendingMax: number
  /** Longest time from connect to the end of the header, in ms. */
  readonly timeoutMs: number
  /** Takes a connection whose other end is known; what was read beyond the header stands in it. */
  readonly enter: (socket: Socket) => void
  readonly onRefused: (peer: string, reason: string) => void
}

/** Where connections of trusted proxies say whom they come from, before anything else is made of them. */
export class ProxyDoor {
  readonly #ports: ProxyDoorPorts
  /** Oldest first, with how to forget them. */
  readonly #pending = new Map<Socket, () => void>()

  constructor(ports: ProxyDoorPorts) {
    this.#ports = ports
  }

  take(socket: Socket): void {
    const peer = peerKey(socket)
    let head: Buffer = Buffer.alloc(0)
    const stops: CancelTimer[] = [
      on(socket, 'readable', () => {
        const more = socket.read() as Buffer | null
        if (more === null) return
        head = head.length === 0 ? more : Buffer.concat([head, more])
        this.#judge(socket, peer, head)
      }),
      once(socket, 'close', () => this.#pending.get(socket)?.()),
      this.#ports.clock.startTimer(this.#ports.timeoutMs, () => {
        this.#refuse(socket, peer, 'it sent no whole PROXY header in time')
      }),
    ]
    this.#pending.set(socket, () => {
      this.#pending.delete(socket)
      for (const stop of stops) stop()
    })
    if (this.#pending.size <= this.#ports.pendingMax) return
    const [oldest] = this.#pending.keys()
    if (oldest) this.#refuse(oldest, peerKey(oldest), 'too many connections have no PROXY header')
  }

  close(): void {
    for (const socket of [...this.#pending.keys()]) socket.destroy()
  }

  #judge(socket: Socket, peer: string, head: Buffer): void {
    const header = readProxyHeader(head)
    if (header.is === 'short') return
    if (header.is === 'refused') {
      this.#refuse(socket, peer, header.reason)
      return
    }
    this.#pending.get(socket)?.()
    if (header.source !== undefined) noteSource(socket, header.source)
    this.#ports.enter(socket)
    if (head.length > header.bytes && !socket.destroyed) socket.unshift(head.subarray(header.bytes))
  }

  #refuse(socket: Socket, peer: string, reason: string): void {
    this.#pending.get(socket)?.()
    socket.destroy()
    this.#ports.onRefused(peer, reason)
  }
}
