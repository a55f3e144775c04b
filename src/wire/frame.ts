/**
 * The largest payload of one frame, in bytes (PROTOCOL 3). With its header it is 16 384 bytes: exactly one TLS record.
 */
export const PAYLOAD_BYTES_MAX = 16_376

/** Frame types (PROTOCOL 3.1). From 0x80 up: ignored by a receiver that does not know them. */
export const FRAME = {
  HELLO: 0x01, //   magic (4) min (2) max (2) features (8) streams (4) session credit (4) stream credit (4)
  PING: 0x02, //    nonce (8)
  PONG: 0x03, //    nonce (8)
  GOAWAY: 0x04, //  last id (4) code (2) reconnect after ms (4) text (1+n) alternates (1, each 1+n)
  WINDOW: 0x05, //  limit (8): absolute; stream id 0 means the session
  OPEN: 0x10, //    credit (4) head (PROTOCOL 5) body
  ACCEPT: 0x11, //  limit (8): absolute, for the opener's data
  REFUSE: 0x12, //  code (2) retry (1) text (n)
  DATA: 0x13, //    bytes; flag END half-closes
  TRAILER: 0x14, // opaque end of the sender's direction
  RESET: 0x15, //   code (2): both directions end
  STOP: 0x16, //    code (2): the receiver will read no more
  HEADERS: 0x17, // metadata of an answer, before its first byte
} as const

/** First type of the range that is reserved for extensions. */
export const EXTENSION_TYPE_MIN = 0x80

/** On OPEN and DATA: nothing follows in this direction. */
export const FLAG_END = 0x01

/** The payload lengths that one type of frame may have, in bytes. */
export interface LengthRange {
  readonly min: number
  readonly max: number
}

/** Allowed payload lengths per type, judged on the header alone. Index: frame type. */
export const LENGTHS: readonly (LengthRange | undefined)[] = lengthTable()

function lengthTable(): (LengthRange | undefined)[] {
  const table = new Array<LengthRange | undefined>(EXTENSION_TYPE_MIN).fill(undefined)
  table[FRAME.HELLO] = { min: 28, max: 256 }
  table[FRAME.PING] = { min: 8, max: 8 }
  table[FRAME.PONG] = { min: 8, max: 8 }
  table[FRAME.GOAWAY] = { min: 12, max: 2048 }
  table[FRAME.WINDOW] = { min: 8, max: 8 }
  table[FRAME.OPEN] = { min: 4, max: PAYLOAD_BYTES_MAX }
  table[FRAME.ACCEPT] = { min: 8, max: 8 }
  table[FRAME.REFUSE] = { min: 3, max: 512 }
  table[FRAME.DATA] = { min: 0, max: PAYLOAD_BYTES_MAX }
  table[FRAME.TRAILER] = { min: 0, max: PAYLOAD_BYTES_MAX }
  table[FRAME.RESET] = { min: 2, max: 2 }
  table[FRAME.STOP] = { min: 2, max: 2 }
  table[FRAME.HEADERS] = { min: 0, max: PAYLOAD_BYTES_MAX }
  return table
}
