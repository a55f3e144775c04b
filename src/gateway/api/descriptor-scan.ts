import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { PosternError } from '../../base/errors.ts'

/** Of one set: files, messages, fields, values and whatever else is described. */
const ELEMENTS_MAX = 20_000
const NAME_BYTES_MAX = 255
const DEPTH_MAX = 32
/** What one of them is, at most, once it is read, in bytes. */
const ELEMENT_BYTES = 4096

/** What stands in one kind of description (google/protobuf/descriptor.proto): numbers of fields. */
interface Shape {
  readonly names: readonly number[]
  readonly parts: Readonly<Record<number, Shape>>
}

const LEAF: Shape = { names: [1], parts: {} }
/** Name, type name and the name in JSON. */
const FIELD: Shape = { names: [1, 6, 10], parts: {} }
const ENUM: Shape = { names: [1], parts: { 2: LEAF } }
const MESSAGE: Shape = {
  names: [1],
  // Messages lie within messages.
  get parts() {
    return { 2: FIELD, 3: MESSAGE, 4: ENUM, 6: FIELD, 8: LEAF }
  },
}
const SERVICE: Shape = { names: [1], parts: { 2: { names: [1, 2, 3], parts: {} } } }
const FILE: Shape = { names: [1, 2], parts: { 4: MESSAGE, 5: ENUM, 6: SERVICE, 7: FIELD } }
const SET: Shape = { names: [], parts: { 1: FILE } }

/**
 * Judges a FileDescriptorSet before it is read: a few bytes of it can be a hundred times as much afterwards, and a long name is
 * repeated by every value that has it. Returns how many bytes it may become. @throws MALFORMED_CALL
 */
export function scanDescriptors(bytes: Uint8Array): number {
  const count = { elements: 0 }
  try {
    scan(bytes, SET, 0, count)
  } catch (error) {
    if (error instanceof PosternError) throw error
    throw malformed('cannot be decoded')
  }
  return bytes.length + count.elements * ELEMENT_BYTES
}

function scan(bytes: Uint8Array, shape: Shape, depth: number, count: { elements: number }): void {
  if (depth > DEPTH_MAX) throw malformed(`lie deeper than ${String(DEPTH_MAX)}`)
  if (++count.elements > ELEMENTS_MAX) throw malformed(`are over ${String(ELEMENTS_MAX)}`)
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    const part = shape.parts[field]
    const isName = shape.names.includes(field)
    if (type !== WireType.LengthDelimited || (part === undefined && !isName)) {
      reader.skip(type, field)
      continue
    }
    const value = reader.bytes()
    if (part !== undefined) scan(value, part, depth + 1, count)
    else if (value.length > NAME_BYTES_MAX)
      throw malformed(`have names of over ${String(NAME_BYTES_MAX)} bytes`)
  }
}

function malformed(how: string): PosternError {
  return new PosternError('MALFORMED_CALL', `the descriptions of the agent ${how}`)
}
