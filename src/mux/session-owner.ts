import type { ByteBudget } from '../base/byte-budget.ts'
import type { MuxLimits } from './limits.ts'
import type { PosternError } from '../base/errors.ts'
import type { GoAway } from '../wire/goaway.ts'
import type { MuxStream } from './stream.ts'

/** A stream that the peer has just opened, with its head. */
export interface OpenArrival {
  readonly stream: MuxStream
  /** The head, and the body if there is one, are `bytes[start, end)`: a view of what was received, good for this call alone. */
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** Nothing follows the OPEN. */
  readonly isEnded: boolean
  /** When it came, in monotonic ms. */
  readonly nowMs: number
}

/** Takes the streams that a peer opens. */
export interface StreamHandler {
  /** Answers the stream, now or later, by `accept`, `refuse` or a trailer. */
  open(arrival: OpenArrival): void
  /** One side takes no new streams: those that would last for ever may end now. */
  leaving?(): void
  /** The session has ended; its streams have been told. */
  closed?(): void
}

/** A rare event of a session. It is told between frames, when the state of the session is whole. */
export type SessionEvent =
  /** The peer's HELLO was accepted: streams may be opened. */
  | { readonly name: 'ready' }
  | { readonly name: 'go-away'; readonly goAway: GoAway }
  /** We have sent GOAWAY. */
  | { readonly name: 'leaving' }
  /** The last stream ended after either side sent GOAWAY. */
  | { readonly name: 'drained' }
  /** The session is over. What output is left should be written, then the connection closed. */
  | { readonly name: 'closed'; readonly error: PosternError }

/** The owner of a session: hears of its output and its events. */
export interface SessionOwner {
  /** There is output to take. Told once until `takeOutput` has emptied it. */
  onOutput(): void
  /** Events come in their order, one at a time: what a listener causes is told after it has returned. */
  onEvent(event: SessionEvent): void
}

/** The values and collaborators that MuxSession is given. */
export interface MuxSessionOptions {
  /** Who dialled the connection. The dialler opens odd stream ids, the acceptor even ones. */
  readonly role: 'dialer' | 'acceptor'
  readonly limits: MuxLimits
  readonly budget: ByteBudget
  readonly owner: SessionOwner
  readonly streams: StreamHandler
  readonly nowMs: number
}

/** Makes a handler that takes no streams at all. `text` tells the peer why. */
export function refuseStreams(text: string): StreamHandler {
  return {
    open: ({ stream }) => {
      stream.refuse('METHOD_UNKNOWN', false, text)
    },
  }
}
