import type { Duplex } from 'node:stream'
import { ByteQueue } from '../base/byte-queue.ts'
import type { Clock } from '../base/clock.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { Direction, Permit } from '../contract/call-guard.ts'
import { on } from '../transport/edge.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'

/**
 * Joins a local connection and a stream: bytes both ways, each half-close on its own, and credit
 * given only for what the local side has taken.
 */
export class StreamBridge implements StreamSink {
  readonly #socket: Duplex
  readonly #onClosed: (code: ErrorCode | undefined) => void
  readonly #clock: Clock
  readonly #mayRetry: ((code: ErrorCode) => boolean) | undefined
  readonly #permit: Permit | undefined
  readonly #offs: (() => void)[] = []
  /** Bytes for the local side, and whether a batch of them is on its way. */
  readonly #inbox = new ByteQueue()
  #isWriting = false
  #isEnding = false
  /** The local side has said everything; the local side has been told everything. */
  #hasRead = false
  #hasWritten = false
  #stream: MuxStream | undefined
  #code: ErrorCode | undefined
  bytesIn = 0
  bytesOut = 0

  /**
   * `onClosed` is told once, when the local connection is closed: with a code unless all went well. `mayRetry`:
   * asked where the stream is refused; true leaves the local connection untouched, as nothing is read from it
   * before the stream is accepted. `permit`: counts what crosses, and may end it.
   */
  constructor(
    socket: Duplex,
    clock: Clock,
    onClosed: (code: ErrorCode | undefined) => void,
    mayRetry?: (code: ErrorCode) => boolean,
    permit?: Permit,
  ) {
    this.#permit = permit
    this.#mayRetry = mayRetry
    this.#socket = socket
    this.#clock = clock
    this.#onClosed = onClosed
    socket.pause()
    this.#offs.push(
      on(socket, 'error', () => {
        this.#code ??= 'CONNECTION_LOST'
      }),
      on(socket, 'close', () => {
        this.#closed()
      }),
    )
  }

  /** Bytes flow from now on. */
  attach(stream: MuxStream): void {
    this.#stream = stream
    const socket = this.#socket
    if (socket.destroyed) stream.reset('CONNECTION_LOST')
    else if (this.#mayRetry === undefined) this.#read(stream)
  }

  #read(stream: MuxStream): void {
    const socket = this.#socket
    on(socket, 'data', (bytes: Buffer) => {
      this.bytesOut += bytes.length
      if (!this.#passes('out', bytes.length)) return
      if (!stream.write(bytes)) socket.pause()
    })
    on(socket, 'end', () => {
      this.#hasRead = true
      stream.end()
    })
    socket.resume()
  }

  onAccept(stream: MuxStream): void {
    // Otherwise bytes were let go without waiting: the stream holds them back until there is credit.
    if (this.#mayRetry !== undefined) this.#read(stream)
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    this.bytesIn += bytes.length
    if (!this.#passes('in', bytes.length)) return
    this.#inbox.push(bytes)
    this.#stream ??= stream
    this.#writeSoon()
  }

  onEnd(): void {
    this.#isEnding = true
    this.#writeSoon()
  }

  onTrailer(): void {
    this.onEnd()
  }

  onRefuse(_stream: MuxStream, code: ErrorCode): void {
    if (!this.#socket.destroyed && this.#mayRetry?.(code) === true)
      for (const off of this.#offs) off()
    else this.#end(code)
  }

  onReset(_stream: MuxStream, code: ErrorCode): void {
    this.#end(code)
  }

  onWritable(): void {
    this.#socket.resume()
  }

  onStop(): void {
    this.#end('CANCELLED')
  }

  #passes(direction: Direction, bytes: number): boolean {
    const denial = this.#permit?.pass(direction, bytes)
    if (denial !== undefined) this.abort(denial.code)
    return denial === undefined
  }

  /** Ends both sides, as for a deadline that has passed. */
  abort(code: ErrorCode): void {
    this.#stream?.reset(code)
    this.#end(code)
  }

  #writeSoon(): void {
    if (this.#isWriting) return
    this.#isWriting = true
    this.#clock.soon(this.#write)
  }

  /** What came while the last batch was on its way leaves in one system call. */
  readonly #write = (): void => {
    const socket = this.#socket
    const count = this.#inbox.length
    if (count === 0) {
      this.#isWriting = false
      if (!this.#isEnding || this.#hasWritten) return
      this.#hasWritten = true
      socket.end()
      return
    }
    const chunks = this.#inbox.takeAll()
    const last = chunks.pop()
    socket.cork()
    for (const chunk of chunks) socket.write(chunk)
    socket.write(last, (error) => {
      if (error !== undefined && error !== null) return
      this.#stream?.consume(count)
      this.#write()
    })
    socket.uncork()
  }

  #end(code: ErrorCode): void {
    this.#code ??= code
    const { resetAndDestroy } = this.#socket as Duplex & { resetAndDestroy?: () => void }
    // The local peer must not take a torn stream for a complete one: RST, not FIN.
    if (resetAndDestroy === undefined) this.#socket.destroy()
    else resetAndDestroy.call(this.#socket)
  }

  #closed(): void {
    const stream = this.#stream
    if (stream !== undefined) {
      // Closed after both half-closes, it may still have bytes on their way to the other side.
      const isComplete = this.#code === undefined && this.#hasRead && this.#hasWritten
      if (!isComplete) {
        this.#code ??= 'CONNECTION_LOST'
        stream.reset(this.#code)
      }
      stream.discard()
    }
    this.#onClosed(this.#code)
  }
}
