/** What a connector writes to register: Bootstrap, and the call that names its tunnel. The counterpart of `capnp.ts`. */

const WORD = 8
const TUNNEL_SERVER = 0xea58_385c_6541_6035n
const REGISTRATION_SERVER = 0xf716_95ec_7fe8_5497n

/** Words of a message, allotted one struct after the other. */
class Builder {
  readonly bytes = Buffer.alloc(1024)
  #next = WORD

  /** A struct with so many words of data and pointers. `at`: the pointer to it. Returns where its data begins. */
  struct(at: number, dataWords: number, pointerWords: number): number {
    const start = this.#take(dataWords + pointerWords)
    this.bytes.writeInt32LE((((start - at) / WORD - 1) << 2) | 0, at)
    this.bytes.writeUInt16LE(dataWords, at + 4)
    this.bytes.writeUInt16LE(pointerWords, at + 6)
    return start
  }

  data(at: number, value: Buffer): void {
    const start = this.#take(Math.ceil(value.length / WORD))
    this.bytes.writeInt32LE((((start - at) / WORD - 1) << 2) | 1, at)
    this.bytes.writeUInt32LE((value.length << 3) | 2, at + 4)
    value.copy(this.bytes, start)
  }

  text(at: number, value: string): void {
    this.data(at, Buffer.from(`${value}\0`))
  }

  framed(): Buffer {
    const head = Buffer.alloc(WORD)
    head.writeUInt32LE(this.#next / WORD, 4)
    return Buffer.concat([head, this.bytes.subarray(0, this.#next)])
  }

  #take(words: number): number {
    const start = this.#next
    this.#next += words * WORD
    return start
  }
}

/** Asks for the registration server, by a question. */
export function bootstrap(question: number): Buffer {
  const builder = new Builder()
  const root = builder.struct(0, 1, 1)
  builder.bytes.writeUInt16LE(8, root)
  const body = builder.struct(root + WORD, 1, 1)
  builder.bytes.writeUInt32LE(question, body)
  return builder.framed()
}

function call(builder: Builder, question: number, method: number): number {
  const root = builder.struct(0, 1, 1)
  builder.bytes.writeUInt16LE(2, root)
  const body = builder.struct(root + WORD, 3, 3)
  builder.bytes.writeUInt32LE(question, body)
  builder.bytes.writeUInt16LE(method, body + 4)
  builder.bytes.writeBigUInt64LE(method === 0 ? REGISTRATION_SERVER : TUNNEL_SERVER, body + WORD)
  const target = builder.struct(body + 3 * WORD, 1, 1)
  builder.bytes.writeUInt16LE(1, target + 4)
  builder.struct(target + WORD, 1, 1)
  return builder.struct(body + 4 * WORD, 0, 2)
}

/** Registers one connection of a tunnel. */
export function register(
  question: number,
  token: { readonly a: string; readonly s: string },
  connIndex: number,
  version: string,
): Buffer {
  const builder = new Builder()
  const payload = call(builder, question, 0)
  const params = builder.struct(payload, 1, 3)
  builder.bytes.writeUInt8(connIndex, params)
  const auth = builder.struct(params + WORD, 0, 2)
  builder.text(auth, token.a)
  builder.data(auth + WORD, Buffer.from(token.s, 'base64'))
  const options = builder.struct(params + 3 * WORD, 1, 2)
  const client = builder.struct(options + WORD, 0, 4)
  builder.text(client + 2 * WORD, version)
  return builder.framed()
}

/** Takes the registration back. */
export function unregister(question: number): Buffer {
  const builder = new Builder()
  builder.struct(call(builder, question, 1), 0, 0)
  return builder.framed()
}

/** What a Return says of a registration: where it is, or why not. Undefined: it is no answer to that. */
export function registrationIn(
  bytes: Buffer,
): { readonly location: string } | { readonly cause: string } | undefined {
  const words = bytes.subarray(WORD)
  const isReturn = words.length > 14 * WORD && words.readUInt16LE(WORD) === 3
  if (!isReturn || words.readUInt32LE(3 * WORD) !== 1) return undefined
  // Registered or refused: the union in ConnectionResponse, then the text behind it.
  const isRegistered = words.readUInt16LE(9 * WORD) === 1
  const text = (pointer: number): string => {
    const start = pointer + WORD + (words.readInt32LE(pointer) >> 2) * WORD
    const length = words.readUInt32LE(pointer + 4) >>> 3
    return words
      .subarray(start, start + length)
      .toString()
      .replace(/\0$/, '')
  }
  return isRegistered ? { location: text(13 * WORD) } : { cause: text(13 * WORD) }
}
