import { ByteQueue } from '../base/byte-queue.ts'
import { PosternError } from '../base/errors.ts'
import type { MuxStream } from '../mux/stream.ts'
import { BodyCollector, messageTooLarge } from './body-collector.ts'

const PREFIX_BYTES = 4
/** A message above this may exceed a small window, so its bytes are consumed while it is gathered. */
const WHOLE_BYTES_MAX = 8 * 1024

interface Waiter {
  resolve(result: IteratorResult<Buffer, undefined>): void
  reject(error: Error): void
}

/**
 * Messages of one direction of a stream: length (4), bytes, repeated. Bytes are consumed, and so
 * credit granted, only as the reader asks for messages: a stalled reader stalls its own sender.
 */
export class MessageReader implements AsyncIterableIterator<Buffer, undefined> {
  readonly #messageBytesMax: number
  readonly #stream: MuxStream
  readonly #queue = new ByteQueue()
  #collector: BodyCollector | undefined
  #collectLeft = 0
  /** What the reader was given last, and has until it asks for more: its bytes, or how it was gathered. */
  #givenBytes = 0
  #given: BodyCollector | undefined
  #waiter: Waiter | undefined
  #hasEnded = false
  #endError: Error | undefined
  #error: Error | undefined

  constructor(messageBytesMax: number, stream: MuxStream) {
    this.#messageBytesMax = messageBytesMax
    this.#stream = stream
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    this.#letGo()
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject }
      this.#advance()
    })
  }

  /** The reader wants no more, as when `for await` is left early. */
  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#drop()
    this.#hasEnded = true
    this.#stream.stop('CANCELLED')
    return Promise.resolve({ done: true, value: undefined })
  }

  push(bytes: Buffer): void {
    if (this.#hasEnded || this.#error !== undefined) {
      this.#stream.consume(bytes.length)
      return
    }
    this.#queue.push(bytes)
    this.#advance()
  }

  /** The sender has ended: with `error`, once what is queued has been read. */
  end(error?: Error): void {
    this.#hasEnded = true
    this.#endError = error
    this.#advance()
  }

  /** What is queued is lost; the reader gets `error` now or when it asks next. */
  fail(error: Error): void {
    this.#error ??= error
    this.#drop()
    this.#advance()
  }

  #advance(): void {
    const waiter = this.#waiter
    if (waiter === undefined) return
    try {
      const message = this.#error === undefined ? this.#takeMessage() : undefined
      if (message !== undefined)
        this.#settle(() => {
          waiter.resolve({ done: false, value: message })
        })
      else if (this.#error !== undefined) throw this.#error
      else if (this.#hasEnded) this.#finish(waiter)
    } catch (error) {
      this.#error = error as Error
      this.#drop()
      this.#settle(() => {
        waiter.reject(error as Error)
      })
    }
  }

  #finish(waiter: Waiter): void {
    if (this.#queue.length > 0 || this.#collector !== undefined) {
      throw new PosternError('MALFORMED_CALL', 'the stream ended within a message')
    }
    if (this.#endError !== undefined) throw this.#endError
    this.#settle(() => {
      waiter.resolve({ done: true, value: undefined })
    })
  }

  #settle(act: () => void): void {
    this.#waiter = undefined
    act()
  }

  #takeMessage(): Buffer | undefined {
    if (this.#collector !== undefined) return this.#collect(this.#collector)
    if (this.#queue.length < PREFIX_BYTES) return undefined
    const lengthBytes = this.#queue.peekU32()
    if (lengthBytes > this.#messageBytesMax) throw messageTooLarge(this.#messageBytesMax)
    if (this.#queue.length >= PREFIX_BYTES + lengthBytes) {
      this.#takeBytes(PREFIX_BYTES)
      this.#givenBytes = lengthBytes
      return this.#queue.take(lengthBytes)
    }
    if (lengthBytes <= WHOLE_BYTES_MAX) return undefined
    this.#takeBytes(PREFIX_BYTES)
    this.#collector = new BodyCollector(this.#stream, lengthBytes)
    this.#collectLeft = lengthBytes
    return this.#collect(this.#collector)
  }

  #collect(collector: BodyCollector): Buffer | undefined {
    const take = Math.min(this.#collectLeft, this.#queue.length)
    if (take > 0) collector.add(this.#takeBytes(take))
    this.#collectLeft -= take
    if (this.#collectLeft > 0) return undefined
    this.#collector = undefined
    this.#given = collector
    return collector.take()
  }

  /** Removes `count` queued bytes and grants them to the sender again. */
  #takeBytes(count: number): Buffer {
    const bytes = this.#queue.take(count)
    this.#stream.consume(count)
    return bytes
  }

  /** The reader is done with what it was given: its sender may send as much again. */
  #letGo(): void {
    this.#given?.drop()
    this.#given = undefined
    const count = this.#givenBytes
    this.#givenBytes = 0
    if (count > 0) this.#stream.consume(count)
  }

  #drop(): void {
    this.#letGo()
    this.#collector?.drop()
    this.#collector = undefined
    this.#queue.clear()
    this.#stream.discard()
  }
}
