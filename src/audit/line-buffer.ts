const FIRST_BYTES = 64 * 1024
/** Of UTF-8, for one unit of a string. */
const BYTES_PER_UNIT = 3

/** Gathers lines as bytes, so that none of them lives on as a string until it is written. */
export class LineBuffer {
  #block = Buffer.allocUnsafeSlow(FIRST_BYTES)
  #length = 0

  get length(): number {
    return this.#length
  }

  add(line: string): void {
    if (this.#length + line.length * BYTES_PER_UNIT > this.#block.length) this.#grow(line.length)
    this.#length += this.#block.write(line, this.#length)
  }

  /** Adds a line of two parts, of which the second is bytes already. */
  addParts(head: string, rest: Buffer): void {
    const units = head.length + rest.length
    if (this.#length + units * BYTES_PER_UNIT > this.#block.length) this.#grow(units)
    const at = this.#length + this.#block.write(head, this.#length)
    this.#block.set(rest, at)
    this.#length = at + rest.length
  }

  /** What was gathered; it is overwritten by what comes after `clear`. */
  get bytes(): Buffer {
    return this.#block.subarray(0, this.#length)
  }

  clear(): void {
    this.#length = 0
  }

  #grow(units: number): void {
    const size = Math.max(this.#block.length * 2, this.#length + units * BYTES_PER_UNIT)
    const block = Buffer.allocUnsafeSlow(size)
    this.#block.copy(block, 0, 0, this.#length)
    this.#block = block
  }
}
