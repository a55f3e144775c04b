import type { ByteBudget } from '../base/byte-budget.ts'
import type { MuxLimits } from './limits.ts'
import type { PosternError } from '../base/errors.ts'
import type { GoAway } from '../wire/goaway.ts'
import type { MuxStream } from './stream.ts'

/** What the owner of a session is told. It may call the session back from within. */
export interface SessionOwner {
  /** There is output to take. Told once until `takeOutput` has emptied it. */
  onOutput(): void
  /** The peer's HELLO was accepted: streams may be opened. */
  onReady(): void
  /**
   * The peer opened a stream; its head begins at `start`. `isEnded`: nothing follows it. The owner
   * answers, now or later, by `accept`, `refuse` or a trailer.
   */
  onOpen(stream: MuxStream, bytes: Buffer, start: number, end: number, isEnded: boolean): void
  onGoAway(goAway: GoAway): void
  /** The last stream ended after either side sent GOAWAY. */
  onDrained(): void
  /** The session is over. What output is left should be written, then the connection closed. */
  onClosed(error: PosternError): void
}

/** The values and collaborators that MuxSession is given. */
export interface MuxSessionOptions {
  /** Who dialled the connection. The dialler opens odd stream ids, the acceptor even ones. */
  readonly role: 'dialer' | 'acceptor'
  readonly limits: MuxLimits
  readonly budget: ByteBudget
  readonly owner: SessionOwner
  readonly nowMs: number
}
