import { PosternError } from '../base/errors.ts'
import type { MuxStream } from '../mux/stream.ts'
import { messageTooLarge } from './body-collector.ts'
import type { RpcRuntime } from './runtime.ts'

/** Writes messages to one direction of a stream, at the pace the peer grants. */
export class MessageWriter {
  readonly #runtime: RpcRuntime
  readonly #stream: MuxStream
  #waiting: { resolve(): void; reject(error: Error): void } | undefined
  #error: Error | undefined

  constructor(runtime: RpcRuntime, stream: MuxStream) {
    this.#runtime = runtime
    this.#stream = stream
  }

  /** Resolves when the next message may be written. @throws MESSAGE_TOO_LARGE, or why the call ended */
  async write(message: Uint8Array): Promise<void> {
    if (this.#error !== undefined) throw this.#error
    const { messageBytesMax } = this.#runtime.limits
    if (message.length > messageBytesMax) throw messageTooLarge(messageBytesMax)
    const prefix = Buffer.allocUnsafe(4)
    prefix.writeUInt32BE(message.length)
    let hasRoom = this.#stream.write(prefix)
    if (message.length > 0) hasRoom = this.#stream.write(message)
    if (hasRoom) return
    await new Promise<void>((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  /** The stream has room again. */
  resume(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve()
  }

  /** No more can be written. */
  fail(error: Error): void {
    this.#error ??= error
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.reject(this.#error)
  }
}

/** The peer stopped reading: writers end quietly with this. */
export function stoppedReading(): PosternError {
  return new PosternError('CANCELLED', 'the peer reads no more')
}
