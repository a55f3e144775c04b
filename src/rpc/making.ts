import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'

/** What a message of a method is taken to need before one was seen, in bytes. */
const GUESS_BYTES = 4096
const METHODS_MAX = 1000
const RETRY_MS = 20
/** Who finds no room for so long is told so, in ms. */
const WAIT_MS_MAX = 10_000

/** Where the room comes from: the account of a stream's session. */
export interface Room {
  reserveMessage(bytes: number): boolean
  releaseMessage(bytes: number): void
}

interface Waiting {
  readonly room: Room
  readonly bytes: number
  readonly endAtMs: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/**
 * Room for messages that handlers are about to make: it is taken before a handler is asked for the next one, as
 * much as that method has needed so far, so that thousands of calls at once do not make thousands of messages
 * of which few can be kept. A handler that waits for something to tell holds none.
 */
export class Making {
  readonly #clock: Clock
  readonly #largest = new Map<string, number>()
  #waiting: Waiting[] = []
  #young: (() => void)[] = []
  #isArmed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Resolves with how to give the room back, which happens by itself once the handler turns out to wait. @throws BUDGET_EXHAUSTED */
  async take(method: string, room: Room): Promise<() => void> {
    const bytes = this.#largest.get(method) ?? GUESS_BYTES
    if (this.#waiting.length > 0 || !room.reserveMessage(bytes)) await this.#wait(room, bytes)
    let isHeld = true
    const giveBack = (): void => {
      if (!isHeld) return
      isHeld = false
      room.releaseMessage(bytes)
    }
    if (this.#young.push(giveBack) === 1) this.#clock.soon(this.#grown)
    return giveBack
  }

  /** A message of that size was made. */
  learn(method: string, bytes: number): void {
    if (bytes <= (this.#largest.get(method) ?? GUESS_BYTES)) return
    if (this.#largest.size >= METHODS_MAX) this.#largest.clear()
    this.#largest.set(method, bytes)
  }

  readonly #grown = (): void => {
    const young = this.#young
    this.#young = []
    for (const giveBack of young) giveBack()
  }

  #wait(room: Room, bytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const endAtMs = this.#clock.nowMs() + WAIT_MS_MAX
      this.#waiting.push({ room, bytes, endAtMs, resolve, reject })
      this.#arm()
    })
  }

  readonly #retry = (): void => {
    this.#isArmed = false
    const nowMs = this.#clock.nowMs()
    this.#waiting = this.#waiting.filter(({ room, bytes, endAtMs, resolve, reject }) => {
      if (room.reserveMessage(bytes)) resolve()
      else if (nowMs < endAtMs) return true
      else reject(new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for a message'))
      return false
    })
    if (this.#waiting.length > 0) this.#arm()
  }

  #arm(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    this.#clock.startTimer(RETRY_MS, this.#retry)
  }
}
