import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import type { StoreBackend } from '../objects/objects.ts'

const PIECE_BYTES = 256 * 1024
const URL_SECONDS = 60
const PARTIAL = 206
const OK = 200
const NOT_FOUND = 404
const BEYOND = 416
/** A few bytes can stand for any number: more than that of one object, unpacked, is not told. */
const UNPACKED_BYTES_MAX = 4 * 1024 ** 3

/** A packed object ends in the middle, or is none: what came before was told. */
export class Broken extends Error {}

/** Reads objects of one store, piece by piece. */
export class ObjectReader {
  readonly #backend: StoreBackend
  readonly #clock: Pick<Clock, 'wallMs'>
  readonly #caPem: string | undefined

  constructor(backend: StoreBackend, clock: Pick<Clock, 'wallMs'>, caPem: string | undefined) {
    this.#backend = backend
    this.#clock = clock
    this.#caPem = caPem
  }

  /** What lies in an object behind so many bytes; of one that was compressed, behind so many of what it was made of. Undefined: it is gone. */
  async read(
    key: string,
    offset: number,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Buffer> | undefined> {
    const isPacked = key.endsWith('.gz')
    const first = await this.#piece(key, isPacked ? 0 : offset, signal)
    if (first === undefined) return undefined
    const pieces = this.#pieces(key, isPacked ? 0 : offset, first, signal)
    return isPacked ? unpacked(pieces, offset) : pieces
  }

  async *#pieces(
    key: string,
    offset: number,
    first: Buffer,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void> {
    let at = offset
    for (let piece: Buffer | undefined = first; piece !== undefined && piece.length > 0;) {
      yield piece
      at += piece.length
      if (piece.length < PIECE_BYTES) return
      piece = await this.#piece(key, at, signal)
    }
  }

  /** By a URL of its own, as every store takes: what follows one that is there is empty. */
  async #piece(key: string, from: number, signal: AbortSignal): Promise<Buffer | undefined> {
    const life = { fromMs: this.#clock.wallMs(), seconds: URL_SECONDS }
    const { url, headers } = await this.#backend.download(key, life)
    const range = `bytes=${String(from)}-${String(from + PIECE_BYTES - 1)}`
    const { status, body } = await askBackend({
      ...{ url: new URL(url), method: 'GET', caPem: this.#caPem, signal },
      headers: { ...headers, range },
      bytesMax: PIECE_BYTES,
    })
    if (status === BEYOND) return Buffer.alloc(0)
    if (status === NOT_FOUND) return undefined
    if (status === PARTIAL || (status === OK && from === 0)) return body
    throw new PosternError('BACKEND_REFUSED', `status ${String(status)}`)
  }
}

async function* unpacked(
  pieces: AsyncIterable<Buffer>,
  offset: number,
): AsyncGenerator<Buffer, void> {
  const plain = createGunzip()
  const packed = Readable.from(pieces)
  packed.once('error', (error) => plain.destroy(error))
  let at = 0
  try {
    for await (const piece of packed.pipe(plain) as AsyncIterable<Buffer>) {
      const skipped = Math.min(piece.length, Math.max(0, offset - at))
      at += piece.length
      if (skipped < piece.length) yield piece.subarray(skipped)
      if (at > UNPACKED_BYTES_MAX) return
    }
  } catch (error) {
    // As zlib says it; of the way to the store its own errors.
    const { code } = error as NodeJS.ErrnoException
    throw code?.startsWith('Z_') === true ? new Broken('', { cause: error }) : error
  } finally {
    packed.destroy()
    plain.destroy()
  }
}
