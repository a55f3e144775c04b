/** Tags as they stand in the first byte, class and constructed bit included (X.690 section 8.1). */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const

/** A context-specific tag of its number. */
export function context(number: number, constructed: boolean): number {
  return 0x80 | (constructed ? 0x20 : 0) | number
}

/** One element of DER: its tag, and where its content lies. */
export interface Tlv {
  readonly tag: number
  readonly content: Buffer
  /** Tag and length included. */
  readonly raw: Buffer
}

/**
 * Reads DER strictly: definite lengths in their shortest form, one-byte tags, nothing left over.
 * Takes no copy and allocates nothing for a length before it is judged. Throws a plain Error with what
 * was wrong, for the caller to name the document.
 */
export class DerReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isDone(): boolean {
    return this.#at === this.#bytes.length
  }

  /** Tag of the next element, or undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#at]
  }

  next(tag?: number): Tlv {
    const start = this.#at
    const found = this.#bytes[start]
    if (found === undefined) throw new Error('an element is missing')
    if ((found & 0x1f) === 0x1f) throw new Error('a tag is longer than one byte')
    if (tag !== undefined && found !== tag) {
      throw new Error(`tag ${found.toString(16)} stands where ${tag.toString(16)} is due`)
    }
    const [length, contentStart] = this.#length(start + 1)
    const end = contentStart + length
    if (end > this.#bytes.length) throw new Error('an element is longer than what holds it')
    this.#at = end
    return {
      tag: found,
      content: this.#bytes.subarray(contentStart, end),
      raw: this.#bytes.subarray(start, end),
    }
  }

  optional(tag: number): Tlv | undefined {
    return this.nextTag === tag ? this.next(tag) : undefined
  }

  /** The content of the next element, to be read in turn. */
  enter(tag: number): DerReader {
    return new DerReader(this.next(tag).content)
  }

  /** All that is left, one element after another. */
  rest(tag?: number): Tlv[] {
    const found: Tlv[] = []
    while (!this.isDone) found.push(this.next(tag))
    return found
  }

  end(): void {
    if (!this.isDone) throw new Error('bytes are left over')
  }

  /** [length, where the content starts] (X.690 section 10.1). */
  #length(at: number): [number, number] {
    const first = this.#bytes[at]
    if (first === undefined) throw new Error('a length is missing')
    if (first < 0x80) return [first, at + 1]
    const count = first & 0x7f
    if (count === 0 || count > 4 || at + 1 + count > this.#bytes.length) {
      throw new Error('a length is indefinite or out of bounds')
    }
    const length = this.#bytes.readUIntBE(at + 1, count)
    if (length < 0x80 || length < 2 ** (8 * (count - 1)))
      throw new Error('a length is longer than need be')
    return [length, at + 1 + count]
  }
}

/** The one element that the bytes hold, and not a byte more. */
export function readOne(bytes: Buffer, tag: number): Tlv {
  const reader = new DerReader(bytes)
  const found = reader.next(tag)
  reader.end()
  return found
}

/** A dotted object identifier (X.690 section 8.19). */
export function oidText(content: Buffer): string {
  const arcs: number[] = []
  let value = 0
  let isInside = false
  for (const byte of content) {
    if (!isInside && byte === 0x80) throw new Error('an object identifier is padded')
    if (value > 2 ** 40) throw new Error('an object identifier is too large')
    value = value * 128 + (byte & 0x7f)
    isInside = byte >= 0x80
    if (isInside) continue
    arcs.push(value)
    value = 0
  }
  const first = arcs[0]
  if (first === undefined || isInside) throw new Error('an object identifier is cut off')
  const root = Math.min(2, Math.floor(first / 40))
  return [root, first - root * 40, ...arcs.slice(1)].join('.')
}

/** Reads a BOOLEAN, which DER has as 00 or FF alone. */
export function booleanOf(content: Buffer): boolean {
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) {
    throw new Error('a boolean is neither 00 nor FF')
  }
  return content[0] === 0xff
}

/** A small integer that is not negative. */
export function countOf(content: Buffer): number {
  judgeInteger(content)
  if (content.length > 4 || (content[0] ?? 0x80) >= 0x80)
    throw new Error('a number is out of range')
  return content.readUIntBE(0, content.length)
}

/** Refuses an INTEGER with needless leading bytes (X.690 section 8.3.2). */
export function judgeInteger(content: Buffer): void {
  const [first, second] = content
  if (first === undefined) throw new Error('a number is empty')
  if (second === undefined) return
  if ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)) {
    throw new Error('a number is longer than need be')
  }
}

/** The bits of a named bit list, bit 0 first in the lowest place (X.690 section 11.2). */
export function namedBits(content: Buffer): number {
  const unused = content[0]
  if (
    unused === undefined ||
    unused > 7 ||
    content.length > 4 ||
    (unused > 0 && content.length < 2)
  )
    throw new Error('a bit string is malformed')
  let bits = 0
  for (let i = 0; i < (content.length - 1) * 8; i++) {
    const byte = content[1 + (i >> 3)] ?? 0
    if (((byte >> (7 - (i & 7))) & 1) === 1) bits |= 1 << i
  }
  return bits
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/

/** Milliseconds since 1970 (RFC 5280 section 4.1.2.5). */
export function timeMs({ tag, content }: Tlv): number {
  const text = content.toString('latin1')
  const isUtc = tag === TAG.utcTime
  if (!isUtc && tag !== TAG.generalizedTime) throw new Error('a time has another tag')
  const found = (isUtc ? UTC_TIME : GENERALIZED_TIME).exec(text)
  if (found === null) throw new Error('a time is not of the form that RFC 5280 demands')
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found
    .slice(1)
    .map(Number)
  const fullYear = isUtc ? year + (year >= 50 ? 1900 : 2000) : year
  const at = Date.UTC(fullYear, month - 1, day, hour, minute, second)
  const made = new Date(at)
  // Date.UTC takes month 0 for the December before, and years below 100 for those of the last century.
  if (made.getUTCFullYear() !== fullYear || made.getUTCMonth() !== month - 1)
    throw new Error('a time does not exist')
  if (made.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) {
    throw new Error('a time does not exist')
  }
  return at
}
