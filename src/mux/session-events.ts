import type { SessionEvent } from './session-owner.ts'

/**
 * Queue that delivers the rare events of a session to its listener in order, and holds them back while a frame is
 * handled; what a listener causes waits until the listener has returned.
 */
export class SessionEvents {
  readonly #queue: SessionEvent[] = []
  readonly #tell: (event: SessionEvent) => void
  #isOver = false
  #isHeld = false
  #isTelling = false

  constructor(tell: (event: SessionEvent) => void) {
    this.#tell = tell
  }

  get isWaiting(): boolean {
    return this.#queue.length > 0
  }

  /** Adds an event, and tells it at once unless the queue is held. Nothing comes after `closed`. */
  push(event: SessionEvent): void {
    if (this.#isOver) return
    this.#isOver = event.name === 'closed'
    this.#queue.push(event)
    if (!this.#isHeld) this.tell()
  }

  hold(): void {
    this.#isHeld = true
  }

  release(): void {
    this.#isHeld = false
    if (this.#queue.length > 0) this.tell()
  }

  /** Tells what waits, held or not: to be called where the state is whole. */
  tell(): void {
    if (this.#isTelling) return
    this.#isTelling = true
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift())
        this.#tell(next)
    } finally {
      this.#isTelling = false
    }
  }
}
