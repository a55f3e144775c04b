import type { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'

/**
 * Joins a local connection and a stream: bytes both ways, each half-close on its own, and credit
 * given only for what the local side has taken.
 */
export class StreamBridge implements StreamSink {
  readonly #socket: Duplex
  readonly #onClosed: (code: ErrorCode | undefined) => void
  readonly #clock: Clock
  #isCorked = false
  /** The local side has said everything; the local side has been told everything. */
  #hasRead = false
  #hasWritten = false
  #stream: MuxStream | undefined
  #code: ErrorCode | undefined
  bytesIn = 0
  bytesOut = 0

  /** `onClosed` is told once, when the local connection is closed: with a code unless all went well. */
  constructor(socket: Duplex, clock: Clock, onClosed: (code: ErrorCode | undefined) => void) {
    this.#socket = socket
    this.#clock = clock
    this.#onClosed = onClosed
    socket.pause()
    socket.on('error', () => {
      this.#code ??= 'CONNECTION_LOST'
    })
    socket.on('close', () => {
      this.#closed()
    })
  }

  /** Bytes flow from now on. */
  attach(stream: MuxStream): void {
    this.#stream = stream
    const socket = this.#socket
    socket.on('data', (bytes: Buffer) => {
      this.bytesOut += bytes.length
      if (!stream.write(bytes)) socket.pause()
    })
    socket.on('end', () => {
      this.#hasRead = true
      stream.end()
    })
    if (socket.destroyed) stream.reset('CONNECTION_LOST')
    else socket.resume()
  }

  onAccept(): void {
    // Bytes were let go without waiting: the stream holds them back until there is credit.
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    this.bytesIn += bytes.length
    this.#corkForThisTick()
    this.#socket.write(bytes, () => {
      stream.consume(bytes.length)
    })
  }

  onEnd(): void {
    this.#hasWritten = true
    this.#socket.end()
  }

  onTrailer(): void {
    this.onEnd()
  }

  onRefuse(_stream: MuxStream, code: ErrorCode): void {
    this.#end(code)
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

  /** What comes in one tick leaves in one system call. */
  #corkForThisTick(): void {
    if (this.#isCorked) return
    this.#isCorked = true
    this.#socket.cork()
    this.#clock.soon(() => {
      this.#isCorked = false
      this.#socket.uncork()
    })
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
