/** So much of a line is read beyond its bound: what is redacted there is seen whole, and what lies across its end is withheld. */
export const AHEAD_BYTES = 1024

/** A line of a log. */
export interface LogLine {
  readonly text: string
  readonly isCut: boolean
  /** Bytes that it takes in its source, with its end. */
  readonly bytes: number
  /** By the word of its source, in wall-clock ms. Default: what it begins with. */
  readonly timeMs?: number
}

/** The line of a text that a source gave as a whole. */
export function lineOf(text: string, bytesMax: number): LogLine {
  const bytes = Buffer.from(text)
  const isCut = bytes.length > bytesMax
  return {
    text: isCut ? bytes.subarray(0, bytesMax).toString() : text,
    isCut,
    bytes: bytes.length + 1,
  }
}

/** Puts lines together out of pieces of a file. One over its bound is told cut, and the rest of it is let go. */
export class LineSplitter {
  readonly #bytesMax: number
  #rest: Buffer = Buffer.alloc(0)
  /** Of the line that is being read, what was let go. */
  #dropped = 0
  #isSkipping = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Bytes of a line that has not ended. */
  get openBytes(): number {
    return this.#rest.length + this.#dropped
  }

  /** Lets go of what comes up to the next end of a line: nobody is told a part of one, which no rule would know. */
  skipLine(): void {
    this.clear()
    this.#isSkipping = true
  }

  /** Takes the next piece. Returns the lines that end in it. */
  push(piece: Buffer): LogLine[] {
    const lines: LogLine[] = []
    let from = this.#skipped(piece)
    for (let end = piece.indexOf(0x0a, from); end !== -1; end = piece.indexOf(0x0a, from)) {
      lines.push(this.#line(piece.subarray(from, end)))
      from = end + 1
    }
    this.#keep(piece.subarray(from))
    return lines
  }

  /** Ends the line that has not ended; undefined: there is none. */
  flush(): LogLine | undefined {
    return this.openBytes === 0 ? undefined : this.#line(Buffer.alloc(0))
  }

  /** Forgets the line that has not ended. */
  clear(): void {
    this.#rest = Buffer.alloc(0)
    this.#dropped = 0
  }

  #skipped(piece: Buffer): number {
    if (!this.#isSkipping) return 0
    const end = piece.indexOf(0x0a)
    if (end !== -1) this.#isSkipping = false
    return end === -1 ? piece.length : end + 1
  }

  #line(last: Buffer): LogLine {
    const whole = this.#rest.length === 0 ? last : Buffer.concat([this.#rest, last])
    const bytes = whole.length + this.#dropped + 1
    const isCut = this.#dropped > 0 || whole.length > this.#bytesMax
    this.clear()
    const shown = isCut ? whole.subarray(0, this.#bytesMax) : whole
    const text = shown.toString()
    return { text: text.endsWith('\r') ? text.slice(0, -1) : text, isCut, bytes }
  }

  #keep(piece: Buffer): void {
    const room = Math.max(0, this.#bytesMax - this.#rest.length)
    if (piece.length === 0) return
    this.#rest = Buffer.concat([this.#rest, piece.subarray(0, room)])
    this.#dropped += Math.max(0, piece.length - room)
  }
}
