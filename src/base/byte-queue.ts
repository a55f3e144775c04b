/** A piece at least this large is kept as it came; what it pins is a few times its size at most. */
const KEPT_BYTES_MIN = 4096
/** Blocks for small pieces double from the one to the other. */
const BLOCK_BYTES_MIN = 512
const BLOCK_BYTES_MAX = 16 * 1024

/**
 * Bytes in the order they came. Small pieces behind others are copied together: a peer that sends
 * its bytes one by one costs what the bytes cost, not what a buffer for each would.
 */
export class ByteQueue {
  length = 0
  readonly #chunks: Uint8Array[] = []
  #head = 0
  #headOffset = 0
  /** The last chunk, where it is a block of ours with room left. */
  #block: Buffer | undefined
  #blockUsed = 0
  #nextBlockBytes = BLOCK_BYTES_MIN

  push(bytes: Uint8Array): void {
    const isFirst = this.length === 0
    this.length += bytes.length
    if (isFirst || bytes.length >= KEPT_BYTES_MIN) {
      this.#chunks.push(bytes)
      this.#block = undefined
      return
    }
    let block = this.#block
    if (block === undefined || block.length - this.#blockUsed < bytes.length) {
      block = Buffer.allocUnsafeSlow(Math.max(bytes.length, this.#nextBlockBytes))
      this.#nextBlockBytes = Math.min(block.length * 2, BLOCK_BYTES_MAX)
      this.#block = block
      this.#blockUsed = 0
      this.#chunks.push(block.subarray(0, 0))
    }
    block.set(bytes, this.#blockUsed)
    const start = this.#blockUsed
    this.#blockUsed += bytes.length
    const last = this.#chunks.length - 1
    const chunk = this.#chunks[last] as Uint8Array
    const from = chunk.length === 0 ? start : chunk.byteOffset - block.byteOffset
    this.#chunks[last] = block.subarray(from, this.#blockUsed)
  }

  /** Moves `count` bytes, at most what is there, to `into`. */
  moveInto(into: Uint8Array, at: number, count: number): void {
    this.length -= count
    let left = count
    let to = at
    while (left > 0) {
      const chunk = this.#chunks[this.#head] as Uint8Array
      const take = Math.min(left, chunk.length - this.#headOffset)
      const isWhole = take === chunk.length
      into.set(isWhole ? chunk : chunk.subarray(this.#headOffset, this.#headOffset + take), to)
      to += take
      left -= take
      this.#headOffset += take
      if (this.#headOffset === chunk.length) this.#shift()
    }
  }

  /** The first `count` bytes; a view where they lie together. */
  take(count: number): Buffer {
    const first = this.#chunks[this.#head]
    if (first === undefined || count > first.length - this.#headOffset) {
      const bytes = Buffer.allocUnsafe(count)
      this.moveInto(bytes, 0, count)
      return bytes
    }
    const start = first.byteOffset + this.#headOffset
    this.length -= count
    this.#headOffset += count
    if (this.#headOffset === first.length) this.#shift()
    return Buffer.from(first.buffer, start, count)
  }

  /** All chunks, as they lie; the queue is empty afterwards. */
  takeAll(): Uint8Array[] {
    const chunks = this.#chunks.slice(this.#head)
    const first = chunks[0]
    if (first !== undefined && this.#headOffset > 0) chunks[0] = first.subarray(this.#headOffset)
    this.clear()
    return chunks
  }

  /** The unsigned integer in the first four bytes, which must be there. */
  peekU32(): number {
    let value = 0
    let index = this.#head
    let offset = this.#headOffset
    for (let i = 0; i < 4; i++) {
      while (offset === (this.#chunks[index] as Uint8Array).length) {
        index++
        offset = 0
      }
      value = value * 256 + ((this.#chunks[index] as Uint8Array)[offset] ?? 0)
      offset++
    }
    return value
  }

  clear(): void {
    this.#chunks.length = 0
    this.#head = 0
    this.#headOffset = 0
    this.length = 0
    this.#block = undefined
    this.#nextBlockBytes = BLOCK_BYTES_MIN
  }

  #shift(): void {
    this.#chunks[this.#head] = NOTHING
    this.#headOffset = 0
    this.#head++
    if (this.#head === this.#chunks.length) {
      this.#chunks.length = 0
      this.#head = 0
      this.#block = undefined
      this.#nextBlockBytes = BLOCK_BYTES_MIN
    } else if (this.#head >= 64) {
      this.#chunks.splice(0, this.#head)
      this.#head = 0
    }
  }
}

const NOTHING = new Uint8Array(0)
