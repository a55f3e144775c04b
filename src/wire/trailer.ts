import { PosternError } from '../base/errors.ts'
import { isUtf8 } from 'node:buffer'
import { cutUtf8 } from './byte-reader.ts'
import type { FrameWriter } from './frame-writer.ts'

const TEXT_BYTES_MAX = 1024
/** Bytes of a trailer with neither text nor metadata. */
export const TRAILER_BYTES_MIN = 5

/**
 * End of a call (PROTOCOL 6): status (1) text (2+n) metadata (2+n) body. The body is the response of
 * a unary call that fits; empty where the response came as DATA.
 */
export interface Trailer {
  /** gRPC status code; 0 is OK. */
  readonly status: number
  readonly text: string
  /** Encoded metadata block. */
  readonly metadata: Buffer
  readonly bodyStart: number
}

const NONE = Buffer.alloc(0)

/** Writes the TRAILER that ends a call, with its body where it has one. */
export function writeTrailer(
  writer: FrameWriter,
  status: number,
  text: string,
  metadata: Buffer,
  body: Uint8Array,
): void {
  writer.u8(status)
  if (text === '') writer.u16(0)
  else {
    const bytes = cutUtf8(text, TEXT_BYTES_MAX)
    writer.u16(bytes.length)
    writer.bytes(bytes)
  }
  writer.u16(metadata.length)
  if (metadata.length > 0) writer.bytes(metadata)
  if (body.length > 0) writer.bytes(body)
}

/**
 * Decodes the payload of a TRAILER frame: status, text, metadata, and where the body begins.
 * @throws MALFORMED_CALL
 */
export function readTrailer(bytes: Buffer, start: number, end: number): Trailer {
  const textStart = start + 3
  if (start + TRAILER_BYTES_MIN > end) throw cutShort()
  const textEnd = textStart + bytes.readUInt16BE(start + 1)
  const metadataStart = textEnd + 2
  if (metadataStart > end) throw cutShort()
  if (textEnd > textStart) judgeText(bytes.subarray(textStart, textEnd))
  const bodyStart = metadataStart + bytes.readUInt16BE(textEnd)
  if (bodyStart > end) throw cutShort()
  return {
    status: bytes[start] as number,
    text: textEnd === textStart ? '' : bytes.toString('utf8', textStart, textEnd),
    metadata: bodyStart === metadataStart ? NONE : bytes.subarray(metadataStart, bodyStart),
    bodyStart,
  }
}

function judgeText(text: Buffer): void {
  if (text.length > TEXT_BYTES_MAX)
    throw malformed(`has a text over ${String(TEXT_BYTES_MAX)} bytes`)
  if (!isUtf8(text)) throw malformed('has a text that is not UTF-8')
}

function malformed(how: string): PosternError {
  return new PosternError('MALFORMED_CALL', `the trailer ${how}`)
}

function cutShort(): PosternError {
  return malformed('ends before its last field')
}
