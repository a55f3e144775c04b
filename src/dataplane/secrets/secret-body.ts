const BASE64 = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
const EQUALS = 0x3d
const HEX = Buffer.from('0123456789abcdef')
const [QUOTE, BACKSLASH, SPACE] = [0x22, 0x5c, 0x20]

/** Bytes in base64, without a text on the way: texts cannot be wiped. */
export function base64Bytes(value: Uint8Array): Buffer {
  const out = Buffer.alloc(Math.ceil(value.length / 3) * 4, EQUALS)
  let to = 0
  for (let at = 0; at < value.length; at += 3) {
    const [a = 0, b = 0, c = 0] = value.subarray(at, at + 3)
    const left = value.length - at
    out[to++] = BASE64[a >> 2] ?? 0
    out[to++] = BASE64[((a & 3) << 4) | (b >> 4)] ?? 0
    if (left > 1) out[to] = BASE64[((b & 15) << 2) | (c >> 6)] ?? 0
    if (left > 2) out[to + 1] = BASE64[c & 63] ?? 0
    to += 2
  }
  return out
}

/** The inside of a JSON string of bytes that are UTF-8, likewise. */
export function jsonBytes(value: Uint8Array): Buffer {
  let length = 0
  for (const byte of value)
    length += byte === QUOTE || byte === BACKSLASH ? 2 : byte < SPACE ? 6 : 1
  const out = Buffer.alloc(length)
  let to = 0
  for (const byte of value) {
    if (byte === QUOTE || byte === BACKSLASH) out[to++] = BACKSLASH
    if (byte >= SPACE) out[to++] = byte
    else {
      to += out.write('\\u00', to, 'latin1')
      out[to++] = HEX[byte >> 4] ?? 0
      out[to++] = HEX[byte & 15] ?? 0
    }
  }
  return out
}

/** Puts bytes between two pieces of text, uses what comes of it, and wipes both. */
export async function withBody<T>(
  before: string,
  inner: Buffer,
  after: string,
  use: (body: Buffer) => Promise<T>,
): Promise<T> {
  const [head, tail] = [Buffer.from(before), Buffer.from(after)]
  const body = Buffer.alloc(head.length + inner.length + tail.length)
  body.set(head)
  body.set(inner, head.length)
  body.set(tail, head.length + inner.length)
  inner.fill(0)
  try {
    return await use(body)
  } finally {
    body.fill(0)
  }
}
