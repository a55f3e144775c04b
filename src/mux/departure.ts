import { PosternError, type ErrorCode } from '../base/errors.ts'
import type { FrameWriter } from '../wire/frame-writer.ts'
import { writeGoAway, type GoAway } from '../wire/goaway.ts'

/** What a GOAWAY of ours may say beside its reason. */
export type GoAwayOptions = Partial<Pick<GoAway, 'reconnectAfterMs' | 'alternates'>>

/** Whether either side of a session has said that it goes (PROTOCOL 5.4). */
export class Departure {
  #isSent = false
  #received: GoAway | undefined

  /** We take no new streams. */
  get isSent(): boolean {
    return this.#isSent
  }

  /** One of the two goes: no new streams, and the session ends with its last one. */
  get isUnderWay(): boolean {
    return this.#isSent || this.#received !== undefined
  }

  /** Writes a GOAWAY. `lastId`: of the peer's streams that were taken. */
  send(
    control: FrameWriter,
    lastId: number,
    code: ErrorCode,
    text: string,
    { reconnectAfterMs = 0, alternates = [] }: GoAwayOptions,
  ): void {
    this.#isSent = true
    writeGoAway(control, { lastId, code, reconnectAfterMs, text, alternates })
  }

  /** Takes note of the peer's GOAWAY. Returns false for a repeated one. */
  receive(goAway: GoAway): boolean {
    const isFirst = this.#received === undefined
    this.#received = goAway
    return isFirst
  }

  /** Returns why no stream can be opened any more: what the peer has against us, where that is why it goes. */
  refusal(): PosternError {
    const goAway = this.#received
    if (goAway === undefined || goAway.code === 'SHUTDOWN' || goAway.code === 'GOING_AWAY')
      return new PosternError('GOING_AWAY', 'the session takes no new streams')
    return new PosternError(goAway.code, `the peer says: ${goAway.text}`)
  }
}
