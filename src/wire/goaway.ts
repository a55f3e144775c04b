import { PosternError, printable, type ErrorCode } from '../base/errors.ts'
import { ByteReader } from './byte-reader.ts'
import { codeOfWireNumber, wireNumber } from './codes.ts'
import { FRAME } from './frame.ts'
import type { FrameWriter } from './frame-writer.ts'

const ALTERNATES_MAX = 7
const TEXT_BYTES_MAX = 200

/** "I take no new streams, and why" (PROTOCOL 4.4). */
export interface GoAway {
  /** Highest stream id of the receiver's that the sender took; higher ones were not started. */
  readonly lastId: number
  readonly code: ErrorCode
  /** How long the receiver should wait before it connects again. 0: its own back-off decides. */
  readonly reconnectAfterMs: number
  /** One sentence for a person. */
  readonly text: string
  /** Other addresses ("host:port") where the same service may be reached; at most 7. */
  readonly alternates: readonly string[]
}

/** Writes a GOAWAY frame. */
export function writeGoAway(writer: FrameWriter, goAway: GoAway): void {
  writer.begin(FRAME.GOAWAY, 0, 0)
  writer.u32(goAway.lastId)
  writer.u16(wireNumber(goAway.code))
  writer.u32(goAway.reconnectAfterMs)
  const shortText = (text: string): void => {
    const bytes = Buffer.from(text).subarray(0, TEXT_BYTES_MAX)
    writer.u8(bytes.length)
    writer.bytes(bytes)
  }
  shortText(goAway.text)
  const alternates = goAway.alternates.slice(0, ALTERNATES_MAX)
  writer.u8(alternates.length)
  alternates.forEach(shortText)
  writer.end()
}

/** Decodes the payload of a GOAWAY frame (PROTOCOL 5.4). @throws PROTOCOL_VIOLATION */
export function readGoAway(bytes: Buffer, start: number, end: number): GoAway {
  const reader = new ByteReader(bytes, start, end, 'GOAWAY')
  const lastId = reader.u32()
  const code = codeOfWireNumber(reader.u16())
  const reconnectAfterMs = reader.u32()
  const text = printable(reader.text(reader.u8()))
  const alternates: string[] = []
  const count = reader.u8()
  if (count > ALTERNATES_MAX)
    throw new PosternError('PROTOCOL_VIOLATION', `GOAWAY names ${String(count)} alternates`)
  for (let left = count; left > 0; left--) alternates.push(printable(reader.text(reader.u8())))
  return { lastId, code, reconnectAfterMs, text, alternates }
}
