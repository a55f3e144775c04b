import {
  create,
  ScalarType,
  type DescField,
  type DescMessage,
  type Message,
} from '@bufbuild/protobuf'
import { toBinary } from '@bufbuild/protobuf'

const FIELD = 'padding'
const LEAST_BYTES = 512

/**
 * Encodes a message. One that has a field of bytes with the name `padding`, and nothing in it, is made as long as others: twice 512, and
 * twice that again, until it fits, so that its length tells little of what it holds.
 */
export function encodePadded(schema: DescMessage, message: Message): Uint8Array {
  const bytes = toBinary(schema, message)
  const field = schema.fields.find(isPadding)
  if (field === undefined) return bytes
  const own = (message as unknown as Record<string, Uint8Array>)[field.localName]
  if (own === undefined || own.length > 0) return bytes
  const padding = Buffer.alloc(paddingOf(bytes.length))
  const padded = create(schema, { ...message, [field.localName]: padding })
  const all = toBinary(schema, padded)
  // The shorter one holds the same, and nobody needs it.
  bytes.fill(0)
  return all
}

function isPadding(field: DescField): boolean {
  const isBytes = field.fieldKind === 'scalar' && field.scalar === ScalarType.BYTES
  return isBytes && field.name === FIELD
}

/** How many bytes of padding make a message as long as its step, with their tag and length (protobuf.dev, "Encoding"). */
function paddingOf(length: number): number {
  for (let step = LEAST_BYTES; ; step *= 2) {
    // A tag of one byte, and a length of one for each seven bits.
    for (const ofLength of [1, 2, 3, 4]) {
      const count = step - length - 1 - ofLength
      if (count > 0 && bytesOfVarint(count) === ofLength) return count
    }
  }
}

function bytesOfVarint(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : 4
}
