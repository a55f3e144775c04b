import { Duplex } from 'node:stream'
import type { RawData, WebSocket } from 'ws'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import { every } from '../base/every.ts'
import { on } from '../transport/edge.ts'

/** What a connector of Cloudflare keeps of a message that goes to a tcp:// target: the rest would be lost without a word. */
export const MESSAGE_BYTES_MAX = 16_384
/** Fronts close what is idle after some minutes, some after 100 s. */
const PING_MS = 25_000
/** So many without an answer, and the other end has gone without a word. */
const SILENT_PINGS = 2
const NORMAL = 1000
const BUFFER_BYTES = 256 * 1024

/**
 * A byte stream in the binary messages of a WebSocket. A message's bounds mean nothing, and that the stream has ended is for
 * what it carries to say: the carrier has no half-close, and ends without a word as often as with one.
 */
export class FrontStream extends Duplex {
  readonly #socket: WebSocket
  readonly #cancelPing: CancelTimer
  #unanswered = 0

  constructor(socket: WebSocket, clock: Clock) {
    super({ allowHalfOpen: false, highWaterMark: BUFFER_BYTES })
    this.#socket = socket
    socket.binaryType = 'nodebuffer'
    on(socket, 'message', (data: RawData, isBinary: boolean) => {
      this.#take(data as Buffer, isBinary)
    })
    on(socket, 'pong', () => {
      this.#unanswered = 0
    })
    on(socket, 'close', () => {
      this.#cancelPing()
      // What is still unread is read first: the last words of the other end are often the reason of its going.
      this.push(null)
    })
    on(socket, 'error', (error: Error) => {
      this.destroy(error)
    })
    this.#cancelPing = every(
      clock,
      () => PING_MS,
      () => {
        if (socket.readyState !== socket.OPEN) return
        if (this.#unanswered++ < SILENT_PINGS) socket.ping()
        else this.destroy(new PosternError('CONNECTION_LOST', 'the front answers no pings'))
      },
    )
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#send(chunk, done)
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    done: (error?: Error | null) => void,
  ): void {
    const [first] = chunks
    const bytes =
      chunks.length === 1 && first !== undefined
        ? first.chunk
        : Buffer.concat(chunks.map(({ chunk }) => chunk))
    this.#send(bytes, done)
  }

  override _final(done: () => void): void {
    this.#socket.close(NORMAL)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#cancelPing()
    this.#socket.terminate()
    done(error)
  }

  #take(data: Buffer, isBinary: boolean): void {
    this.#unanswered = 0
    if (!isBinary) {
      this.destroy(new PosternError('CONNECTION_LOST', 'the front sent text among the bytes'))
      return
    }
    if (data.length > 0 && !this.push(data)) this.#socket.pause()
  }

  #send(bytes: Buffer, done: (error?: Error | null) => void): void {
    const whole = Math.max(1, Math.ceil(bytes.length / MESSAGE_BYTES_MAX))
    for (let i = 0; i < whole; i++) {
      const piece = bytes.subarray(i * MESSAGE_BYTES_MAX, (i + 1) * MESSAGE_BYTES_MAX)
      if (i < whole - 1) this.#socket.send(piece, { binary: true })
      else this.#socket.send(piece, { binary: true }, done)
    }
  }
}
