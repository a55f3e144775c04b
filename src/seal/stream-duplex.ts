import { Duplex } from 'node:stream'
import { ByteQueue } from '../base/byte-queue.ts'
import { PosternError, type ErrorCode } from '../base/errors.ts'
import type { MuxStream, StreamSink } from '../mux/stream.ts'

/** A stream of a session as a byte stream of Node: what is written leaves as credit comes, and credit is given for what is read. */
export class StreamDuplex extends Duplex implements StreamSink {
  readonly #inbox = new ByteQueue()
  #stream: MuxStream | undefined
  #onWritten: (() => void) | undefined
  #isWanted = false
  #hasEnded = false
  #bytesLeft: number
  /** Why it ended, where somebody said so. */
  reason: PosternError | undefined

  /** `bytesMax`: of what comes, until `lift`. */
  constructor(bytesMax: number) {
    super({ allowHalfOpen: true })
    this.#bytesLeft = bytesMax
    // Whoever reads it hears of an error, too; while nobody does it must not end the process.
    this.on('error', () => undefined)
  }

  /** Bytes flow from now on. */
  attach(stream: MuxStream): void {
    this.#stream = stream
  }

  /** Takes any number of bytes from now on. */
  lift(): void {
    this.#bytesLeft = Infinity
  }

  onAccept(): void {
    // Bytes were let go without waiting: the stream holds them back until there is credit.
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    this.#stream ??= stream
    this.#bytesLeft -= bytes.length
    if (this.#bytesLeft < 0) {
      this.#fail('HANDSHAKE_LIMIT', 'too many bytes before the handshake was over')
      return
    }
    this.#inbox.push(bytes)
    this.#deliver()
  }

  onEnd(): void {
    this.#hasEnded = true
    this.#deliver()
  }

  onTrailer(): void {
    this.onEnd()
  }

  onRefuse(_stream: MuxStream, code: ErrorCode, _canRetry: boolean, text: string): void {
    this.#fail(code, text)
  }

  onReset(_stream: MuxStream, code: ErrorCode): void {
    this.#fail(code, 'the stream of the sealed session was reset')
  }

  onWritable(): void {
    const onWritten = this.#onWritten
    this.#onWritten = undefined
    onWritten?.()
  }

  onStop(): void {
    this.#fail('CANCELLED', 'the other end reads no more')
  }

  override _read(): void {
    this.#isWanted = true
    this.#deliver()
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    if (this.#stream?.write(bytes) === false) this.#onWritten = done
    else done()
  }

  override _final(done: () => void): void {
    this.#stream?.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const stream = this.#stream
    // What was said to the end still leaves: a reset would take it back.
    if (error === null && this.writableFinished) stream?.stop('CANCELLED')
    else stream?.reset('CANCELLED')
    stream?.discard()
    this.#onWritten = undefined
    done(error)
  }

  #deliver(): void {
    if (!this.#isWanted || this.destroyed) return
    const count = this.#inbox.length
    if (count > 0) {
      this.#isWanted = false
      for (const chunk of this.#inbox.takeAll()) this.push(chunk)
      this.#stream?.consume(count)
    } else if (this.#hasEnded) {
      this.#isWanted = false
      this.push(null)
    }
  }

  #fail(code: ErrorCode, text: string): void {
    this.reason ??= new PosternError(code, text)
    this.destroy(this.reason)
  }
}
