import { PosternError } from '../base/errors.ts'
import { ByteReader } from './byte-reader.ts'

/** Key-value pairs beside a call: keys in lower-case ASCII, values UTF-8 without control characters. */
export type Metadata = Readonly<Record<string, string>>

export const METADATA_BYTES_MAX = 8192
export const METADATA_ENTRIES_MAX = 64

const KEY = /^[a-z0-9_.-]{1,128}$/
// eslint-disable-next-line no-control-regex -- control characters are what this refuses
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f]/
const EMPTY_BLOCK = Buffer.alloc(0)

/**
 * Encodes metadata as one block: key length (1), key, value length (2), value, repeated.
 * @throws HEAD_TOO_LARGE, MALFORMED_CALL
 */
export function encodeMetadata(metadata: Metadata | undefined): Buffer {
  if (metadata === undefined) return EMPTY_BLOCK
  const entries = Object.entries(metadata)
  if (entries.length > METADATA_ENTRIES_MAX) throw tooLarge()
  const parts: Buffer[] = []
  for (const [key, value] of entries) {
    if (!KEY.test(key) || UNPRINTABLE.test(value)) {
      throw new PosternError(
        'MALFORMED_CALL',
        `metadata ${JSON.stringify(key)} has a forbidden key or value`,
      )
    }
    const keyBytes = Buffer.from(key)
    const valueBytes = Buffer.from(value)
    if (valueBytes.length > METADATA_BYTES_MAX) throw tooLarge()
    const head = Buffer.from([keyBytes.length])
    const length = Buffer.from([valueBytes.length >> 8, valueBytes.length & 0xff])
    parts.push(head, keyBytes, length, valueBytes)
  }
  const block = Buffer.concat(parts)
  if (block.length > METADATA_BYTES_MAX) throw tooLarge()
  return block
}

/** @throws MALFORMED_CALL, HEAD_TOO_LARGE */
export function decodeMetadata(block: Buffer): Metadata {
  if (block.length === 0) return {}
  if (block.length > METADATA_BYTES_MAX) throw tooLarge()
  const metadata: Record<string, string> = Object.create(null) as Record<string, string>
  const reader = new ByteReader(block, 0, block.length, 'metadata')
  let count = 0
  try {
    while (reader.left > 0) {
      const key = reader.text(reader.u8())
      const value = reader.utf8(reader.u16())
      if (value === undefined || Object.hasOwn(metadata, key)) throw malformed()
      if (!KEY.test(key) || UNPRINTABLE.test(value) || ++count > METADATA_ENTRIES_MAX)
        throw malformed()
      metadata[key] = value
    }
  } catch {
    throw malformed()
  }
  return metadata
}

function tooLarge(): PosternError {
  const limits = `${String(METADATA_ENTRIES_MAX)} entries, ${String(METADATA_BYTES_MAX)} bytes`
  return new PosternError('HEAD_TOO_LARGE', `metadata exceeds its limits: ${limits}`)
}

function malformed(): PosternError {
  return new PosternError('MALFORMED_CALL', 'the metadata block cannot be decoded')
}
