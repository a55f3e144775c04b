import { asPosternError, type ErrorCode } from '../base/errors.ts'
import type { MuxSession } from '../mux/session.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'
import { PAYLOAD_BYTES_MAX } from '../wire/frame.ts'
import { KIND, writeRelayedHead, CREDIT_BYTES, type OpenHead } from '../wire/open-head.ts'

/** An OPEN as it came from a caller. */
export interface ArrivedOpen {
  readonly head: OpenHead
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly isEnded: boolean
}

export interface RelayEvents {
  /** Told once, when the tunnel is rid of the stream. */
  onEnded(): void
  /** The caller reset its stream. */
  onCallerReset(): void
}

/**
 * Joins a caller's stream to a stream of the tunnel that holds the cluster. Payload is passed on as
 * it is. A byte is consumed on the one side when it has gone out on the other, so the credit that a
 * sender sees is the far reader's, and what the relay holds lies within its windows.
 */
export class Relay implements StreamSink {
  readonly #near: MuxStream
  readonly #events: RelayEvents
  #far: MuxStream | undefined

  /** Refuses the near stream itself when the far one cannot be opened. */
  constructor(
    near: MuxStream,
    session: MuxSession,
    caller: Buffer,
    open: ArrivedOpen,
    events: RelayEvents,
  ) {
    this.#near = near
    this.#events = events
    near.sink = this
    near.whenClosed(() => {
      if (this.#far === undefined) events.onEnded()
    })
    const { head, bytes, start, end, isEnded } = open
    if (CREDIT_BYTES + end - start + caller.length > PAYLOAD_BYTES_MAX) {
      near.refuse('HEAD_TOO_LARGE', false, 'no room is left in the head for the name of the caller')
      return
    }
    try {
      this.#far = session.beginOpen(this, isEnded, head.kind !== KIND.unary)
      this.#far.whenClosed(() => {
        events.onEnded()
      })
    } catch (error) {
      near.refuse(asPosternError(error).code, true, '')
      return
    }
    writeRelayedHead(session.writer, head, caller, bytes, start, end)
    session.endOpen()
  }

  onAccept(): void {
    try {
      this.#near.accept(this)
    } catch {
      this.#far?.reset('BUDGET_EXHAUSTED')
    }
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    const other = this.#other(stream)
    if (other?.takesData === true) other.write(bytes)
    else stream.consume(bytes.length)
  }

  onSent(stream: MuxStream, count: number): void {
    this.#other(stream)?.consume(count)
  }

  onEnd(stream: MuxStream): void {
    this.#other(stream)?.end()
  }

  onTrailer(stream: MuxStream, bytes: Buffer, start: number, end: number): void {
    const other = this.#other(stream)
    if (other !== undefined && !other.hasLocalEnded) {
      const writer = other.beginTrailer()
      writer.slice(bytes, start, end)
      other.endTrailer(writer)
    }
    // Answered: what is still queued for the responder is of no use to it.
    if (!stream.hasLocalEnded) {
      stream.receiveStop('CANCELLED')
      other?.discard()
    }
  }

  onRefuse(_stream: MuxStream, code: ErrorCode, canRetry: boolean, text: string): void {
    this.#near.refuse(code, canRetry, text)
  }

  onReset(stream: MuxStream, code: ErrorCode): void {
    if (stream === this.#near) this.#events.onCallerReset()
    const other = this.#other(stream)
    if (other === undefined) return
    other.reset(code)
    other.discard()
  }

  onWritable(): void {
    // Credit alone sets the pace: what is queued was never more than a window.
  }

  onStop(stream: MuxStream, code: ErrorCode): void {
    const other = this.#other(stream)
    if (other === undefined) return
    other.stop(code)
    other.discard()
  }

  #other(stream: MuxStream): MuxStream | undefined {
    return stream === this.#near ? this.#far : this.#near
  }
}
