import type { ErrorCode } from '../base/error-codes.ts'
import { cutUtf8 } from './byte-reader.ts'
import { wireNumber } from './codes.ts'
import { FRAME } from './frame.ts'
import type { FrameWriter } from './frame-writer.ts'

const TEXT_BYTES_MAX = 200

/** "Your stream was not taken, and nothing was started" (PROTOCOL 5.3). */
export function writeRefuse(
  writer: FrameWriter,
  id: number,
  code: ErrorCode,
  canRetry: boolean,
  text: string,
): void {
  writer.begin(FRAME.REFUSE, 0, id)
  writer.u16(wireNumber(code))
  writer.u8(canRetry ? 1 : 0)
  writer.bytes(cutUtf8(text, TEXT_BYTES_MAX))
  writer.end()
}
