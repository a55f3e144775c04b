/**
 * The subset of Cap'n Proto RPC that cloudflared registers with: messages of one segment, unpacked. Layouts are those of rpc.capnp and of
 * cloudflared's own schema; nothing is read that a registration does not need.
 */

const WORD = 8
export const CALL = { register: 0, unregister: 1, updateLocalConfiguration: 2 } as const

/** What came: the start of a conversation, a call, or what needs no answer. */
export type RpcMessage =
  | { readonly kind: 'bootstrap'; readonly question: number }
  | {
      readonly kind: 'call'
      readonly question: number
      readonly method: number
      readonly register?: Registration
    }
  | { readonly kind: 'other' }

export interface Registration {
  readonly connIndex: number
  readonly accountTag: string
  readonly secret: string
  readonly version: string
}

/** Cuts a stream into messages. */
export class RpcReader {
  #bytes = Buffer.alloc(0)

  add(chunk: Buffer): RpcMessage[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    const found: RpcMessage[] = []
    while (this.#bytes.length >= WORD) {
      if (this.#bytes.readUInt32LE(0) !== 0) throw new Error('more than one segment')
      const end = WORD + this.#bytes.readUInt32LE(4) * WORD
      if (this.#bytes.length < end) break
      found.push(readMessage(this.#bytes.subarray(WORD, end)))
      this.#bytes = this.#bytes.subarray(end)
    }
    return found
  }
}

interface Struct {
  readonly segment: Buffer
  readonly data: number
  readonly pointers: number
}

function structAt(segment: Buffer, at: number): Struct | undefined {
  const low = segment.readInt32LE(at)
  if (segment.readBigUInt64LE(at) === 0n) return undefined
  if ((low & 3) !== 0) throw new Error('no struct pointer')
  const data = at + WORD + (low >> 2) * WORD
  return { segment, data, pointers: data + segment.readUInt16LE(at + 4) * WORD }
}

function child({ segment, pointers }: Struct, index: number): Struct | undefined {
  return structAt(segment, pointers + index * WORD)
}

function bytesOf({ segment, pointers }: Struct, index: number): Buffer {
  const at = pointers + index * WORD
  const low = segment.readInt32LE(at)
  if (segment.readBigUInt64LE(at) === 0n) return Buffer.alloc(0)
  if ((low & 3) !== 1) throw new Error('no list pointer')
  const start = at + WORD + (low >> 2) * WORD
  return segment.subarray(start, start + (segment.readUInt32LE(at + 4) >>> 3))
}

function textOf(struct: Struct, index: number): string {
  return bytesOf(struct, index).toString().replace(/\0$/, '')
}

function readMessage(segment: Buffer): RpcMessage {
  const root = structAt(segment, 0)
  if (root === undefined) throw new Error('an empty message')
  const tag = segment.readUInt16LE(root.data)
  const body = child(root, 0)
  if (body === undefined) return { kind: 'other' }
  const question = segment.readUInt32LE(body.data)
  if (tag === 8) return { kind: 'bootstrap', question }
  if (tag !== 2) return { kind: 'other' }
  const method = segment.readUInt16LE(body.data + 4)
  const payload = child(body, 1)
  const params = payload && child(payload, 0)
  if (method !== CALL.register || params === undefined) return { kind: 'call', question, method }
  return { kind: 'call', question, method, register: registrationOf(params) }
}

function registrationOf(params: Struct): Registration {
  const auth = child(params, 0)
  const options = child(params, 2)
  const client = options && child(options, 0)
  return {
    connIndex: params.segment.readUInt8(params.data),
    accountTag: auth ? textOf(auth, 0) : '',
    secret: auth ? bytesOf(auth, 1).toString('base64') : '',
    version: client ? textOf(client, 2) : '',
  }
}

function framed(hex: string): Buffer {
  return Buffer.from(hex.replace(/\s/g, ''), 'hex')
}

/** An answer to Bootstrap: the registration server. */
export function bootstrapReturn(question: number): Buffer {
  return answering(
    question,
    framed(`000000000b000000 0000000001000100 0300000000000000 0000000002000100 0000000000000000
      0000000000000000 0000000000000200 0300000000000000 0100000017000000 0400000001000100
      0100000000000000 0000000000000000`),
  )
}

/** Registered, at a place, with its configuration kept remotely. `location` has 5 characters. */
export function registered(question: number, location: string): Buffer {
  const bytes =
    framed(`0000000011000000 0000000001000100 0300000000000000 0000000002000100 0100000000000000
      0000000000000000 0000000000000200 0400000000000100 0000000000000000 0000000001000100
      0100000000000000 0000000001000200 0100000000000000 0500000082000000 0900000032000000
      0011223344556677 8899aabbccddeeff 4c4f433031000000`)
  bytes.write(location.slice(0, 5).padEnd(5), bytes.length - WORD, 'latin1')
  return answering(question, bytes)
}

/** Refused, with a cause of any length. */
export function refused(question: number, cause: string, shouldRetry: boolean): Buffer {
  const head =
    framed(`0000000010000000 0000000001000100 0300000000000000 0000000002000100 0100000000000000
      0000000000000000 0000000000000200 0400000000000100 0000000000000000 0000000001000100
      0000000000000000 0000000002000100 00f2052a01000000 0100000000000000 0100000000000000`)
  const text = Buffer.alloc(Math.ceil((cause.length + 1) / WORD) * WORD)
  text.write(cause, 'latin1')
  head.writeUInt32LE(((cause.length + 1) << 3) | 2, head.length - 4)
  head.writeUInt32LE(shouldRetry ? 1 : 0, head.length - 2 * WORD)
  head.writeUInt32LE((head.length + text.length) / WORD - 1, 4)
  return answering(question, Buffer.concat([head, text]))
}

/** An empty result. */
export function emptyReturn(question: number): Buffer {
  return answering(
    question,
    framed(`0000000008000000 0000000001000100 0300000000000000 0000000002000100 0200000000000000
      0000000000000000 0000000000000200 fcffffff00000000 0000000000000000`),
  )
}

/** The answer's id stands at the beginning of the Return's data, in all of these. */
function answering(question: number, bytes: Buffer): Buffer {
  bytes.writeUInt32LE(question, 4 * WORD)
  return bytes
}
