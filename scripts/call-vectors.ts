import { encodeExtras } from '../src/wire/head-extras.ts'
import { encodeMetadata } from '../src/wire/metadata.ts'

/** A head or trailer in hex, and what a receiver makes of it. */
export interface CallVector {
  readonly meaning: string
  readonly hex: string
  /** Absent where it is in order: the code that the stream is refused with, or the call fails with. */
  readonly error?: string
}

const text = (value: string | Buffer): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])

interface Head {
  readonly kind?: number
  readonly cluster?: string | Buffer
  readonly caller?: string | Buffer
  readonly name?: string | Buffer
  readonly traceparent?: string
  readonly metadata?: Buffer
  readonly extras?: Buffer
  readonly body?: Buffer
}

const EXTRAS = Buffer.concat([
  encodeExtras({ callerRegion: 'eu-west-1', callerIssuer: 'https://login.example.com' }),
  Buffer.from([200, 2, 0, 0]),
])

/** What follows the credit in the payload of OPEN. */
function head({
  kind = 1,
  cluster = 'eu-1',
  caller = '',
  name = 'a.B/C',
  traceparent = '',
  metadata = Buffer.alloc(0),
  extras = Buffer.alloc(0),
  body = Buffer.alloc(0),
}: Head): Buffer {
  const fixed = Buffer.from([kind, 0, extras.length >> 8, extras.length & 0xff, 0, 0, 0, 0])
  const names = [cluster, caller, name, traceparent].map(text)
  return Buffer.concat([fixed, ...names, u16(metadata.length), metadata, extras, body])
}

function entry(key: string | Buffer, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([text(key), u16(bytes.length), bytes])
}

const one = (meaning: string, bytes: Buffer, error?: string): CallVector => ({
  meaning,
  hex: bytes.toString('hex'),
  ...(error === undefined ? {} : { error }),
})

/** Heads, each as an OPEN with END to a gateway; those in order come to a cluster that nobody knows. */
export function headVectors(): CallVector[] {
  const bad = (meaning: string, bytes: Buffer): CallVector => one(meaning, bytes, 'MALFORMED_CALL')
  const notUtf8 = Buffer.from([0xff, 0xfe])
  const whole = head({})
  return [
    one('a head in order', whole),
    one('an empty cluster: the receiver itself', head({ cluster: '' })),
    one('a traceparent of another form counts as empty', head({ traceparent: 'x' })),
    one('metadata in order', head({ metadata: encodeMetadata({ tenant: 'acme' }) })),
    bad('a name with a space', head({ name: 'a.B/C D' })),
    bad('a name with a control character', head({ name: 'a.B/C\u0001' })),
    bad('a name that is not ASCII', head({ name: 'a.B/\u00e9' })),
    bad('a cluster with a space', head({ cluster: 'eu 1' })),
    bad('a cluster with DEL', head({ cluster: 'eu\u007f' })),
    bad('a caller that is not ASCII', head({ caller: Buffer.from([0xe9]) })),
    one(
      'metadata of 15 000 bytes',
      head({ metadata: encodeMetadata({ long: 'a'.repeat(14_993) }) }),
    ),
    bad(
      'metadata of 129 entries',
      head({
        metadata: Buffer.concat(
          Array.from({ length: 129 }, (_, index) => entry(`k${String(index)}`, 'v')),
        ),
      }),
    ),
    one(
      'extras: a caller in eu-west-1, its issuer, and a type that nobody knows',
      head({ extras: EXTRAS }),
    ),
    bad(
      'extras that run past the end',
      head({ extras: Buffer.from([1, 9, 0x65]) }).subarray(0, -1),
    ),
    one('a sealed session', head({ kind: 6, name: '' })),
    bad('a sealed session with a body', head({ kind: 6, name: '', body: Buffer.from([1]) })),
    bad('a kind of 7', head({ kind: 7 })),
    bad('a head that is cut off', whole.subarray(0, 12)),
    bad(
      'a name that runs past the end',
      Buffer.concat([whole.subarray(0, 14), Buffer.from([200])]),
    ),
    bad('metadata whose value is not UTF-8', head({ metadata: entry('k', notUtf8) })),
    bad('metadata with an upper-case key', head({ metadata: entry('Key', 'v') })),
    bad('metadata with C1 in a value', head({ metadata: entry('k', 'a\u0085b') })),
    bad(
      'metadata with one key twice',
      head({ metadata: Buffer.concat([entry('k', '1'), entry('k', '2')]) }),
    ),
    bad('metadata that is cut off', head({ metadata: entry('k', 'v').subarray(0, 3) })),
    bad('a body where the kind has none', head({ kind: 3, body: Buffer.from([1]) })),
    one('an OPEN of 16 312 bytes', head({ body: Buffer.alloc(16_312 - 4 - whole.length) })),
    one(
      'an OPEN of 16 313 bytes',
      head({ body: Buffer.alloc(16_313 - 4 - whole.length) }),
      'HEAD_TOO_LARGE',
    ),
  ]
}

function trailer(status: number, said: Buffer, metadata: Buffer, body = Buffer.alloc(0)): Buffer {
  return Buffer.concat([
    Buffer.from([status]),
    u16(said.length),
    said,
    u16(metadata.length),
    metadata,
    body,
  ])
}

/** Trailers, as payloads of TRAILER that answer a unary call. */
export function trailerVectors(): CallVector[] {
  const none = Buffer.alloc(0)
  const bad = (meaning: string, bytes: Buffer): CallVector => one(meaning, bytes, 'MALFORMED_CALL')
  return [
    one('OK with a body', trailer(0, none, none, Buffer.from('0801', 'hex'))),
    one('NOT_FOUND with a text of 1024 bytes', trailer(5, Buffer.alloc(1024, 0x61), none)),
    bad('a text of 1025 bytes', trailer(5, Buffer.alloc(1025, 0x61), none)),
    bad('a text that is not UTF-8', trailer(5, Buffer.from([0xc3, 0x28]), none)),
    bad('metadata with an upper-case key', trailer(5, none, entry('Key', 'v'))),
    bad('a trailer that is cut off', Buffer.from([0, 0])),
  ]
}
