import { PosternError } from '../base/errors.ts'
import { FRAME } from '../wire/frame.ts'
import type { FrameWriter } from '../wire/frame-writer.ts'
import { StreamWindow, type SessionWindow } from './receive-window.ts'

/** The session, as the receiving side of a stream sees it. */
export interface ReceiverHost {
  readonly window: SessionWindow
  readonly nowMs: number
  readonly control: FrameWriter
  wake(): void
}

/** Receiving side of one stream: its window, and the WINDOW frames that open it further. */
export class StreamReceiver {
  readonly #host: ReceiverHost
  readonly #id: number
  readonly #window: StreamWindow

  /** `creditBytes`: what the peer may send before a window is opened. */
  constructor(host: ReceiverHost, id: number, creditBytes: number) {
    this.#host = host
    this.#id = id
    this.#window = new StreamWindow(creditBytes)
  }

  /** Received and not yet consumed. */
  get outstandingBytes(): number {
    return this.#window.received - this.#window.consumed
  }

  /** Reserves a first window; returns the limit to announce, or undefined when none is to be had. */
  open(): number | undefined {
    const { window, nowMs } = this.#host
    const bytes = window.reserveFirst()
    if (bytes === 0) return undefined
    // The session's credit rises with it at once: a neighbour that stalls must not use it up.
    this.#grantSession()
    return this.#window.open(bytes, nowMs)
  }

  announce(limit: number): void {
    this.#windowFrame(this.#id, limit)
    this.#grantSession()
  }

  /** Counts bytes that came against the stream's credit. @throws FLOW_CONTROL_VIOLATION */
  charge(count: number): void {
    const window = this.#window
    window.received += count
    if (window.received <= window.limit) return
    const facts = { streamId: this.#id, limit: window.limit }
    const text = 'the peer sent more than a stream was granted'
    throw new PosternError('FLOW_CONTROL_VIOLATION', text, facts)
  }

  /** `mayGrant`: the peer may still send on this stream. */
  consume(count: number, mayGrant: boolean): void {
    const { window, nowMs } = this.#host
    window.consumed += count
    const limit = this.#window.consume(count, window, nowMs)
    if (limit !== undefined && mayGrant) this.#windowFrame(this.#id, limit)
    this.#grantSession()
  }

  /** The stream is over, and nothing of it is held any more. */
  release(): void {
    const { window } = this.#host
    window.consumed += this.outstandingBytes
    window.unreserve(this.#window.bytes)
    this.#grantSession()
  }

  #grantSession(): void {
    const limit = this.#host.window.grant()
    if (limit !== undefined) this.#windowFrame(0, limit)
  }

  #windowFrame(id: number, limit: number): void {
    const { control } = this.#host
    control.begin(FRAME.WINDOW, 0, id)
    control.u64(limit)
    control.end()
    this.#host.wake()
  }
}
