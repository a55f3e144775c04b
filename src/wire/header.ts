/**
 * The header of a frame (PROTOCOL 3): the only place that knows where its fields lie.
 *
 *   type (1) | flags (1) | payload length (2) | stream id (4)      big-endian
 */
export const HEADER_BYTES = 8

const FLAGS_AT = 1
const LENGTH_AT = 2
const STREAM_ID_AT = 4

/** Returns the type of the frame whose header begins at `at`. */
export function typeAt(bytes: Buffer, at: number): number {
  return bytes[at] as number
}

/** Returns the flags of the frame whose header begins at `at`. */
export function flagsAt(bytes: Buffer, at: number): number {
  return bytes[at + FLAGS_AT] as number
}

/** Returns the length of the payload, in bytes, of the frame whose header begins at `at`. */
export function lengthAt(bytes: Buffer, at: number): number {
  return ((bytes[at + LENGTH_AT] as number) << 8) | (bytes[at + LENGTH_AT + 1] as number)
}

/** Returns the stream id of the frame whose header begins at `at`; 0 is the session. */
export function streamIdAt(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at + STREAM_ID_AT)
}

/** Writes a header but for its length, which writeLength adds once the payload is known. */
export function writeHeader(
  into: Buffer,
  at: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  into[at] = type
  into[at + FLAGS_AT] = flags
  into.writeUInt32BE(streamId, at + STREAM_ID_AT)
}

/** Writes the length of a payload, in bytes, into the header that begins at `at`. */
export function writeLength(into: Buffer, at: number, lengthBytes: number): void {
  into[at + LENGTH_AT] = lengthBytes >>> 8
  into[at + LENGTH_AT + 1] = lengthBytes & 0xff
}
