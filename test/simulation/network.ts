import { PosternError } from '../../src/base/errors.ts'
import type { Identity } from '../../src/identity/name.ts'
import type { PeerWire } from '../../src/tunnel/rpc-connection.ts'
import type { FakeClock } from '../support/fake-clock.ts'
import type { SeededRandom } from '../support/seeded-random.ts'

export interface Faults {
  /** One way, in ms. */
  readonly delayMs: number
  /** Chance that a piece waits for up to a second more. */
  readonly stall: number
  /** Chance, per write, that the connection is cut. */
  readonly cut: number
  /** Largest piece that a write is broken into. */
  readonly pieceBytesMax: number
}

/** A write is cut in at most this many pieces, or a run would be all cutting. */
const PIECES_MAX = 12

interface Listener {
  onBytes(chunk: Buffer): void
  onClosed(error: PosternError | undefined): void
}

/** One end of a simulated connection. Bytes arrive in order, in pieces, later, or not at all. */
class SimulatedWire implements PeerWire {
  readonly facts: PeerWire['facts']
  peer: SimulatedWire | undefined
  listener: Listener | undefined
  isClosed = false
  #arrivesAtMs = 0
  readonly #clock: FakeClock
  readonly #random: SeededRandom
  readonly #faults: Faults

  constructor(clock: FakeClock, random: SeededRandom, faults: Faults, identity: Identity) {
    this.#clock = clock
    this.#random = random
    this.#faults = faults
    this.facts = {
      identity,
      tlsVersion: 'TLSv1.3',
      cipher: 'none',
      group: 'none',
      address: 'simulated:1',
      certificateNotBeforeMs: 0,
      certificateNotAfterMs: Number.MAX_SAFE_INTEGER,
      certificate: Buffer.alloc(0),
    }
  }

  listen(listener: Listener): void {
    this.listener = listener
  }

  write(bytes: Uint8Array, onWritten: () => void): void {
    // The slab is used again once written, so what is under way is a copy.
    const copy = Buffer.from(bytes)
    let at = 0
    let pieces = 0
    while (at < copy.length) {
      const size =
        pieces++ < PIECES_MAX ? 1 + this.#random.integer(this.#faults.pieceBytesMax) : copy.length
      const piece = copy.subarray(at, at + size)
      at += piece.length
      const isLast = at >= copy.length
      this.#later(() => {
        if (isLast && !this.isClosed) onWritten()
        if (this.peer?.isClosed === false) this.peer.listener?.onBytes(Buffer.from(piece))
      })
    }
    if (this.#random.chance(this.#faults.cut)) {
      this.#clock.startTimer(this.#random.integer(100), () => {
        this.destroy()
      })
    }
  }

  end(): void {
    this.#later(() => {
      this.destroy()
    })
  }

  destroy(): void {
    this.#close(undefined)
    if (this.peer !== undefined) this.peer.#close(new PosternError('CONNECTION_LOST', 'cut'))
  }

  #close(error: PosternError | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#clock.soon(() => {
      this.listener?.onClosed(error)
    })
  }

  #later(act: () => void): void {
    const { delayMs, stall } = this.#faults
    const stallMs = this.#random.chance(stall) ? this.#random.integer(1000) : 0
    this.#arrivesAtMs = Math.max(this.#arrivesAtMs, this.#clock.nowMs() + delayMs + stallMs)
    this.#clock.startTimer(this.#arrivesAtMs - this.#clock.nowMs(), act)
  }
}

/** A fresh connection: the end that `near` holds, and the end that `far` holds. */
export function connect(
  clock: FakeClock,
  random: SeededRandom,
  faults: Faults,
  identities: { readonly near: Identity; readonly far: Identity },
): { readonly near: SimulatedWire; readonly far: SimulatedWire } {
  // What an end knows of its peer is the peer's identity.
  const near = new SimulatedWire(clock, random, faults, identities.far)
  const far = new SimulatedWire(clock, random, faults, identities.near)
  near.peer = far
  far.peer = near
  return { near, far }
}
