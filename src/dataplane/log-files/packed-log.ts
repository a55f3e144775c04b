import type { FileHandle } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import type { OpenLog } from './open-log.ts'

const HEAD_BYTES = 256
const PIECE_BYTES = 16 * 1024
/** More than that of one file, unpacked, is not told: a few bytes can stand for any number. */
const UNPACKED_BYTES_MAX = 4 * 1024 ** 3
const TRAILER_BYTES = 4

/** A file of a log that rotation has compressed (RFC 1952), unpacked as it is read, piece by piece. */
export class PackedLog implements OpenLog {
  readonly inode = ''
  readonly #handle: FileHandle
  #pieces: AsyncIterator<Buffer, undefined> | undefined
  #end: (() => void) | undefined
  /** Behind what was unpacked and taken, and what was unpacked and not. */
  #at = 0
  #rest: Buffer = Buffer.alloc(0)
  #head: Buffer = Buffer.alloc(0)
  #size = 0

  private constructor(handle: FileHandle) {
    this.#handle = handle
  }

  /** Undefined: it is none, or half written. */
  static async open(handle: FileHandle): Promise<PackedLog | undefined> {
    const log = new PackedLog(handle)
    const { size } = await handle.stat()
    const trailer = Buffer.alloc(TRAILER_BYTES)
    await handle.read(trailer, 0, TRAILER_BYTES, Math.max(0, size - TRAILER_BYTES))
    // What it says of its own length (ISIZE); as it may lie, nothing is allocated by it.
    log.#size = trailer.readUInt32LE()
    const head = Buffer.alloc(HEAD_BYTES)
    log.#head = head.subarray(0, await log.#fill(head))
    if (log.#head.length > 0 || log.#size === 0) return log
    await log.close()
    return undefined
  }

  async read(into: Buffer, at: number): Promise<number> {
    if (at + into.length <= this.#head.length || (at === 0 && into.length <= HEAD_BYTES))
      return this.#head.copy(into, 0, at)
    if (at < this.#at) this.#restart()
    while (this.#at < at) {
      const skipped = await this.#fill(into.subarray(0, Math.min(into.length, at - this.#at)))
      if (skipped === 0) return 0
    }
    return await this.#fill(into)
  }

  size(): Promise<number> {
    return Promise.resolve(Math.max(this.#size, this.#at))
  }

  async close(): Promise<void> {
    this.#end?.()
    await this.#handle.close()
  }

  async #fill(into: Buffer): Promise<number> {
    if (this.#rest.length === 0) this.#rest = await this.#next()
    const taken = this.#rest.copy(into)
    this.#rest = this.#rest.subarray(taken)
    this.#at += taken
    return taken
  }

  async #next(): Promise<Buffer> {
    if (this.#at > UNPACKED_BYTES_MAX) return Buffer.alloc(0)
    this.#pieces ??= this.#start()
    try {
      return (await this.#pieces.next()).value ?? Buffer.alloc(0)
    } catch {
      // It is cut off there: what came before was told.
      return Buffer.alloc(0)
    }
  }

  #start(): AsyncIterator<Buffer, undefined> {
    const packed = Readable.from(piecesOf(this.#handle))
    const plain = createGunzip()
    packed.once('error', (error) => plain.destroy(error))
    this.#end = () => {
      packed.destroy()
      plain.destroy()
    }
    return packed.pipe(plain)[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>
  }

  #restart(): void {
    this.#end?.()
    this.#pieces = undefined
    this.#rest = Buffer.alloc(0)
    this.#at = 0
  }
}

async function* piecesOf(handle: FileHandle): AsyncGenerator<Buffer, void> {
  for (let at = 0; ;) {
    const piece = Buffer.alloc(PIECE_BYTES)
    const { bytesRead } = await handle.read(piece, 0, PIECE_BYTES, at)
    if (bytesRead === 0) return
    at += bytesRead
    yield piece.subarray(0, bytesRead)
  }
}
