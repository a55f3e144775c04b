import type { Clock } from '../base/clock.ts'
import type { PosternError } from '../base/errors.ts'
import type { Identity } from '../identity/name.ts'
import type { PeerWire } from './rpc-connection.ts'

interface Listener {
  onBytes(chunk: Buffer): void
  onClosed(error: PosternError | undefined): void
}

/** One end of a connection within this process. */
class LoopbackWire implements PeerWire {
  readonly facts: PeerWire['facts']
  peer: LoopbackWire | undefined
  #listener: Listener | undefined
  #isClosed = false
  readonly #clock: Clock

  constructor(clock: Clock, identity: Identity) {
    this.#clock = clock
    this.facts = {
      identity,
      tlsVersion: 'none',
      cipher: 'none',
      group: 'none',
      address: 'this process',
      certificateNotBeforeMs: 0,
      certificateNotAfterMs: Number.MAX_SAFE_INTEGER,
      certificate: Buffer.alloc(0),
    }
  }

  listen(listener: Listener): void {
    this.#listener = listener
  }

  write(bytes: Uint8Array, onWritten: () => void): void {
    const copy = Buffer.from(bytes)
    this.#clock.soon(() => {
      onWritten()
      if (this.peer !== undefined) this.peer.#take(copy)
    })
  }

  end(): void {
    this.destroy()
  }

  destroy(): void {
    this.#close()
    if (this.peer !== undefined) this.peer.#close()
  }

  #take(bytes: Buffer): void {
    if (!this.#isClosed) this.#listener?.onBytes(bytes)
  }

  #close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#clock.soon(() => {
      this.#listener?.onClosed(undefined)
    })
  }
}

/** Both ends of a connection within this process, each with the identity as its peer. */
export function loopback(clock: Clock, identity: Identity): readonly [PeerWire, PeerWire] {
  const [near, far] = [new LoopbackWire(clock, identity), new LoopbackWire(clock, identity)]
  near.peer = far
  far.peer = near
  return [near, far]
}
