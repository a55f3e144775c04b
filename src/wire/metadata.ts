import { isUtf8 } from 'node:buffer'
import { PosternError } from '../base/errors.ts'
import { PAYLOAD_BYTES_MAX } from './frame.ts'

/** Key-value pairs beside a call: keys in lower-case ASCII, values UTF-8 without control characters. */
export type Metadata = Readonly<Record<string, string>>

/** The largest block of metadata, in bytes: as far as a frame has room for it. */
export const METADATA_BYTES_MAX = PAYLOAD_BYTES_MAX
/** The largest block in a trailer, in bytes: the status and its text are beside it. */
export const TRAILER_METADATA_BYTES_MAX = 8192
/** The most entries that one block of metadata holds. */
export const METADATA_ENTRIES_MAX = 128

const KEY = /^[a-z0-9_.-]{1,128}$/
// eslint-disable-next-line no-control-regex -- control characters are what this refuses
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f]/
const NONE: Metadata = Object.freeze({})
const EMPTY_BLOCK = Buffer.alloc(0)

/**
 * Encodes metadata as one block: key length (1), key, value length (2), value, repeated.
 * @throws HEAD_TOO_LARGE, MALFORMED_CALL
 */
export function encodeMetadata(
  metadata: Metadata | undefined,
  bytesMax = METADATA_BYTES_MAX,
): Buffer {
  if (metadata === undefined) return EMPTY_BLOCK
  const keys = Object.keys(metadata)
  if (keys.length > METADATA_ENTRIES_MAX) throw tooLarge(bytesMax)
  let blockBytes = 0
  for (const key of keys) {
    const value = metadata[key] as string
    if (!KEY.test(key) || UNPRINTABLE.test(value)) {
      throw new PosternError(
        'MALFORMED_CALL',
        `metadata ${JSON.stringify(key)} has a forbidden key or value`,
      )
    }
    blockBytes += 3 + key.length + Buffer.byteLength(value)
    if (blockBytes > bytesMax) throw tooLarge(bytesMax)
  }
  const block = Buffer.allocUnsafe(blockBytes)
  let at = 0
  for (const key of keys) {
    block[at++] = key.length
    at += block.write(key, at, 'latin1')
    const valueBytes = block.write(metadata[key] as string, at + 2)
    at = block.writeUInt16BE(valueBytes, at) + valueBytes
  }
  return block
}

/** A block that was decoded: most calls of a caller have the same. None is kept that is long enough for a credential. */
interface Decoded {
  readonly block: Buffer
  readonly metadata: Metadata
}

const KEPT_BYTES_MAX = 96
let last: Decoded = { block: EMPTY_BLOCK, metadata: NONE }

/** Decodes the block from `start` to `end`. @throws MALFORMED_CALL, HEAD_TOO_LARGE */
export function decodeMetadata(bytes: Buffer, start = 0, end = bytes.length): Metadata {
  if (start === end) return NONE
  const { block } = last
  if (block.length === end - start && block.compare(bytes, start, end) === 0) return last.metadata
  const metadata = decoded(bytes, start, end)
  if (end - start <= KEPT_BYTES_MAX)
    last = { block: Buffer.from(bytes.subarray(start, end)), metadata: Object.freeze(metadata) }
  return metadata
}

function decoded(bytes: Buffer, start: number, end: number): Metadata {
  if (end - start > METADATA_BYTES_MAX) throw tooLarge(METADATA_BYTES_MAX)
  const metadata: Record<string, string> = Object.create(null) as Record<string, string>
  let at = start
  let count = 0
  while (at < end) {
    const keyAt = at + 1
    const lengthAt = keyAt + (bytes[at] as number)
    const valueAt = lengthAt + 2
    if (valueAt > end) throw malformed()
    at = valueAt + bytes.readUInt16BE(lengthAt)
    if (at > end || ++count > METADATA_ENTRIES_MAX) throw malformed()
    const key = bytes.toString('latin1', keyAt, lengthAt)
    if (!KEY.test(key) || key in metadata) throw malformed()
    metadata[key] = valueIn(bytes, valueAt, at)
  }
  return metadata
}

/** @throws MALFORMED_CALL */
function valueIn(bytes: Buffer, start: number, end: number): string {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number
    if (byte >= 0x20 && byte < 0x7f) continue
    const rest = bytes.subarray(start, end)
    if (!isUtf8(rest)) throw malformed()
    const value = rest.toString()
    if (UNPRINTABLE.test(value)) throw malformed()
    return value
  }
  return bytes.toString('latin1', start, end)
}

function tooLarge(bytesMax: number): PosternError {
  const limits = `${String(METADATA_ENTRIES_MAX)} entries, ${String(bytesMax)} bytes`
  return new PosternError('HEAD_TOO_LARGE', `metadata exceeds its limits: ${limits}`)
}

function malformed(): PosternError {
  return new PosternError('MALFORMED_CALL', 'the metadata block cannot be decoded')
}
