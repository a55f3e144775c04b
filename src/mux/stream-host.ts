import type { Output } from './output.ts'
import type { ReceiverHost } from './stream-receiver.ts'

/** How a stream begins. */
export interface Opening<Sink> {
  readonly isInbound: boolean
  /** The OPEN carried END: the opener's direction is over. */
  readonly isEnded: boolean
  readonly sink: Sink | undefined
}

/** The session, as its streams see it. */
export interface StreamHost<Stream> extends ReceiverHost {
  readonly output: Output
  /** Credit that the peer gives a stream before it accepts, in bytes. */
  readonly peerStreamCredit: number
  /** The peer reads HEADERS. */
  readonly peerReadsHeaders: boolean
  /** Opens or answers were written: they are in the budget, or the session ends. */
  fitBacklog(): void
  /** We reset a stream that we had opened. */
  didReset(): void
  /** The stream has ended in both directions. */
  forget(stream: Stream): void
}
