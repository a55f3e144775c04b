import { PosternError } from '../base/errors.ts'
import type { MuxStream } from '../mux/stream.ts'
import { messageTooLarge } from './body-collector.ts'
import type { RpcRuntime } from './runtime.ts'

/** A peer that takes nothing for this long wants the call no more, in ms. */
const STALL_MS_MAX = 300_000

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

  /** Resolves when the peer takes anything: before that nothing is made for it. @throws why the call ended */
  async ready(): Promise<void> {
    if (this.#error !== undefined) throw this.#error
    if (this.#stream.awaitsCredit()) await this.#room()
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
    if (!hasRoom) await this.#room()
  }

  async #room(): Promise<void> {
    const { clock } = this.#runtime
    const cancel = clock.startTimer(STALL_MS_MAX, () => {
      const text = `the peer took nothing for ${String(STALL_MS_MAX / 1000)} s`
      this.fail(new PosternError('DEADLINE_EXCEEDED', text))
    })
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiting = { resolve, reject }
      })
    } finally {
      cancel()
    }
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
