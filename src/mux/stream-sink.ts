import type { ErrorCode } from '../base/errors.ts'

/** What the owner of a stream is told; nothing after `onRefuse`, `onReset`, or once both directions ended. */
export interface SinkOf<Stream> {
  /** The peer took a stream that we opened. */
  onAccept(stream: Stream): void
  /** Data came. Call `stream.consume` with its length once it is used up. */
  onData(stream: Stream, bytes: Buffer): void
  /** The answer of the peer begins with this metadata, `bytes[start, end)`; told once at most, before its data and trailer. */
  onHeaders?(stream: Stream, bytes: Buffer, start: number, end: number): void
  /** The peer half-closed. */
  onEnd(stream: Stream): void
  /** The peer ended its direction with a trailer, `bytes[start, end)`. */
  onTrailer(stream: Stream, bytes: Buffer, start: number, end: number): void
  /** The peer did not take a stream that we opened: nothing was started. */
  onRefuse(stream: Stream, code: ErrorCode, canRetry: boolean, text: string): void
  /** Both directions ended at once: the peer reset the stream, or the session is gone. */
  onReset(stream: Stream, code: ErrorCode): void
  /** The send queue, once full, has room again. */
  onWritable(stream: Stream): void
  /** `count` queued bytes have gone out. */
  onSent?(stream: Stream, count: number): void
  /** The peer will read no more; what was queued has been dropped, and the direction ends by DATA with END. */
  onStop(stream: Stream, code: ErrorCode): void
  /** Whether the owner ends a stopped direction itself, as by a trailer that is under way. */
  endsStopped?(stream: Stream): boolean
}
