import { promisify } from 'node:util'
import { BUDGET_SHARE, type ByteBudget } from '../base/byte-budget.ts'
import { ByteQueue } from '../base/byte-queue.ts'
import { PosternError } from '../base/errors.ts'

/** Flags (1), length (4), big-endian (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message"). */
export const PREFIX_BYTES = 5
const COMPRESSED = 1
/** All that the two protocols have: compressed, end of a stream of Connect, trailers of gRPC-Web. */
const KNOWN_FLAGS = 0x83
/** What is smaller is not worth it. */
const COMPRESS_BYTES_MIN = 1024

/** The compressions that are taken, in the words of HTTP (RFC 9110, section 8.4.1); `deflate` is that of zlib. */
export type Compression = 'gzip' | 'deflate' | 'identity'
/** Told to clients, so that they use no other. */
export const COMPRESSIONS = 'gzip,deflate,identity'

/** Reads the name of a compression. @throws METHOD_UNKNOWN */
export function compressionOf(name: string | undefined): Compression {
  if (name === undefined || name === '' || name === 'identity') return 'identity'
  if (name === 'gzip' || name === 'deflate') return name
  throw new PosternError('METHOD_UNKNOWN', `the compression is not known; ${COMPRESSIONS} are`)
}

/** Where what is gathered is reserved. */
export type Budget = Pick<ByteBudget, 'reserve' | 'release'>

/** What bounds the messages of a call. */
export interface MessageBounds {
  readonly messageBytesMax: number
  readonly budget: Budget
}

/**
 * Reads messages out of a body, decompressed. What is gathered is reserved first, and given back when the next one is asked for.
 * @throws MESSAGE_TOO_LARGE, BUDGET_EXHAUSTED, MALFORMED_CALL
 */
export async function* readMessages(
  body: AsyncIterable<Buffer>,
  { messageBytesMax, budget }: MessageBounds,
  compression: Compression,
): AsyncGenerator<Buffer, undefined> {
  const queue = new ByteQueue()
  let wanted: number | undefined
  let flags = 0
  let held = 0
  try {
    for await (const chunk of body) {
      queue.push(chunk)
      for (;;) {
        if (wanted === undefined) {
          if (queue.length < PREFIX_BYTES) break
          const prefix = queue.take(PREFIX_BYTES)
          flags = prefix[0] as number
          wanted = prefix.readUInt32BE(1)
          judgePrefix(flags, wanted, messageBytesMax, compression)
          held = reserved(budget, wanted)
        }
        if (queue.length < wanted) break
        const bytes = queue.take(wanted)
        wanted = undefined
        if ((flags & COMPRESSED) === 0) yield bytes
        else {
          // As large as it may become, until it is known how large it is.
          held += reserved(budget, messageBytesMax)
          const message = await expand(bytes, compression, messageBytesMax)
          budget.release(held - message.length)
          held = message.length
          yield message
        }
        budget.release(held)
        held = 0
      }
    }
  } finally {
    budget.release(held)
    queue.clear()
  }
  if (wanted !== undefined || queue.length > 0)
    throw new PosternError('MALFORMED_CALL', 'the body ended within a message')
}

function judgePrefix(
  flags: number,
  length: number,
  bytesMax: number,
  compression: Compression,
): void {
  if ((flags & ~KNOWN_FLAGS) !== 0 || (flags & KNOWN_FLAGS) > COMPRESSED)
    throw new PosternError('MALFORMED_CALL', 'a message has flags that are not known')
  if (length > bytesMax) throw tooLarge(bytesMax)
  if (flags === COMPRESSED && compression === 'identity')
    throw new PosternError('MALFORMED_CALL', 'a message is compressed, and no header says how')
}

function reserved(budget: Budget, bytes: number): number {
  if (budget.reserve(bytes, BUDGET_SHARE.message)) return bytes
  throw new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for a message')
}

/** Reads a whole body that is one message, decompressed. @throws MESSAGE_TOO_LARGE, BUDGET_EXHAUSTED, MALFORMED_CALL */
export async function readWhole(
  body: AsyncIterable<Buffer>,
  { messageBytesMax, budget }: MessageBounds,
  compression: Compression,
): Promise<Buffer> {
  const parts: Buffer[] = []
  let held = 0
  try {
    for await (const chunk of body) {
      if (held + chunk.length > messageBytesMax) throw tooLarge(messageBytesMax)
      held += reserved(budget, chunk.length)
      parts.push(chunk)
    }
    const bytes = Buffer.concat(parts)
    if (compression === 'identity') return bytes
    held += reserved(budget, messageBytesMax)
    return await expand(bytes, compression, messageBytesMax)
  } finally {
    budget.release(held)
  }
}

/** @throws MESSAGE_TOO_LARGE, BUDGET_EXHAUSTED, MALFORMED_CALL */
async function expand(bytes: Buffer, compression: Compression, bytesMax: number): Promise<Buffer> {
  if (compression === 'identity') return bytes
  try {
    const { gunzip, inflate } = await import('node:zlib')
    const unzip = promisify(compression === 'gzip' ? gunzip : inflate)
    return await unzip(bytes, { maxOutputLength: bytesMax })
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(bytesMax)
    throw new PosternError('MALFORMED_CALL', 'a message cannot be decompressed')
  }
}

/** Compresses what is worth it. */
export async function compressed(
  bytes: Buffer,
  compression: Compression,
): Promise<{ readonly bytes: Buffer; readonly isCompressed: boolean }> {
  if (compression === 'identity' || bytes.length < COMPRESS_BYTES_MIN)
    return { bytes, isCompressed: false }
  const { deflate, gzip } = await import('node:zlib')
  const zip = promisify<Buffer, Buffer>(compression === 'gzip' ? gzip : deflate)
  return { bytes: await zip(bytes), isCompressed: true }
}

/** A message as it stands in a body. */
export function envelope(flags: number, bytes: Buffer): Buffer {
  const whole = Buffer.allocUnsafe(PREFIX_BYTES + bytes.length)
  whole[0] = flags
  whole.writeUInt32BE(bytes.length, 1)
  bytes.copy(whole, PREFIX_BYTES)
  return whole
}

function tooLarge(bytesMax: number): PosternError {
  return new PosternError('MESSAGE_TOO_LARGE', `a message exceeds ${String(bytesMax)} bytes`)
}
