import { isUtf8 } from 'node:buffer'
import { PosternError } from '../base/errors.ts'

/** Reads fields of one payload. Running past its end throws the code given, never anything else. */
export class ByteReader {
  readonly #bytes: Buffer
  #at: number
  readonly #end: number
  readonly #what: string

  constructor(bytes: Buffer, start: number, end: number, what: string) {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
    this.#what = what
  }

  get at(): number {
    return this.#at
  }

  get left(): number {
    return this.#end - this.#at
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2))
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4))
  }

  text(lengthBytes: number): string {
    const at = this.#take(lengthBytes)
    return this.#bytes.toString('utf8', at, at + lengthBytes)
  }

  /** Undefined where the bytes are not UTF-8. */
  utf8(lengthBytes: number): string | undefined {
    const at = this.#take(lengthBytes)
    const bytes = this.#bytes.subarray(at, at + lengthBytes)
    return isUtf8(bytes) ? bytes.toString() : undefined
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#take(this.left), this.#end)
  }

  #take(count: number): number {
    const at = this.#at
    if (at + count > this.#end) {
      throw new PosternError('PROTOCOL_VIOLATION', `${this.#what} ends before its last field`)
    }
    this.#at = at + count
    return at
  }
}

/** At most that many bytes of a text in UTF-8, none of its characters cut in two. */
export function cutUtf8(text: string, bytesMax: number): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length <= bytesMax) return bytes
  let end = bytesMax
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}

/** An unsigned 64-bit field, which must fit a double exactly. */
export function readU64(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
  if (value <= Number.MAX_SAFE_INTEGER) return value
  throw new PosternError('PROTOCOL_VIOLATION', 'a 64-bit field exceeds 2^53 - 1')
}
