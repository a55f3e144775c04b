import { PosternError } from '../base/errors.ts'
import { PAYLOAD_BYTES_MAX } from './frame.ts'
import type { FrameWriter } from './frame-writer.ts'

/**
 * What a stream carries (PROTOCOL 6.1). `forward` is a byte stream to a named service, `sealed` one to the agent
 * itself, which holds a session of its own.
 */
export const KIND = {
  unary: 1,
  serverStream: 2,
  clientStream: 3,
  bidi: 4,
  forward: 5,
  sealed: 6,
} as const
/** The number of a kind of stream. */
export type Kind = (typeof KIND)[keyof typeof KIND]

/** Whether a stream carries bytes both ways, and no messages. */
export function isByteStream(kind: number): boolean {
  return kind === KIND.forward || kind === KIND.sealed
}

/** `traceparent` of W3C Trace Context, section 3.2. */
export const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

/** Bytes of the credit field, before the head. */
export const CREDIT_BYTES = 4
const FIXED_BYTES = 8
/** Of the length of the extras, in the fixed part. */
const EXTRAS_AT = 2
const NAME_BYTES_MAX = 255
const PRINTABLE_ASCII = /^[\x21-\x7e]*$/

/**
 * Head of OPEN, after the credit (PROTOCOL 5):
 *
 *   kind (1) data type (1) length of extras (2) timeout ms (4)
 *   cluster (1+n) caller (1+n) name (1+n) traceparent (1+n) metadata (2+n) extras body
 */
export interface OpenHead {
  readonly kind: number
  readonly dataType: number
  /** Milliseconds the call may still take; 0: no deadline. */
  readonly timeoutMs: number
  /** The cluster that is called; empty: the receiver itself. */
  readonly cluster: string
  /** Who calls. Written by the gateway from the verified certificate; whatever it held is replaced. */
  readonly caller: string
  /** "package.Service/Method", or the name of a service to forward to. */
  readonly name: string
  /** W3C Trace Context `traceparent`, or empty. */
  readonly traceparent: string
  /** Where the fields after `caller` begin, for a relay. */
  readonly afterCaller: number
  readonly metadataStart: number
  /** Where the extras begin. */
  readonly metadataEnd: number
  readonly bodyStart: number
}

/** The parts of a head that stay the same from call to call, encoded once. */
export function encodeRoute(cluster: string, caller: string, name: string): Buffer {
  return Buffer.concat([cluster, caller, name].map((text) => shortText(text)))
}

function shortText(text: string): Buffer {
  if (text.length > NAME_BYTES_MAX) {
    throw new PosternError('HEAD_TOO_LARGE', `a name exceeds ${String(NAME_BYTES_MAX)} bytes`)
  }
  if (!PRINTABLE_ASCII.test(text)) {
    throw new PosternError('MALFORMED_CALL', 'a name holds other characters than printable ASCII')
  }
  const bytes = Buffer.from(text, 'latin1')
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

/** The fields that a head is written from. */
export interface HeadFields {
  readonly kind: Kind
  readonly dataType: number
  readonly timeoutMs: number
  /** From encodeRoute. */
  readonly route: Buffer
  readonly traceparent: string
  /** From encodeMetadata. */
  readonly metadata: Buffer
}

/** Bytes of an OPEN payload with this head and no body. */
export function headBytes(head: HeadFields): number {
  const fixed = CREDIT_BYTES + FIXED_BYTES + 1 + 2
  return fixed + head.route.length + head.traceparent.length + head.metadata.length
}

/** Left free for the caller's name, which a gateway writes into the head that it passes on. */
export const CALLER_BYTES_MAX = 64

/** Room for a body beside this head in one OPEN frame. */
export function bodyRoom(head: HeadFields): number {
  return PAYLOAD_BYTES_MAX - CALLER_BYTES_MAX - headBytes(head)
}

/** Writes the head of an OPEN, after the credit. */
export function writeHead(writer: FrameWriter, head: HeadFields): void {
  writer.u8(head.kind)
  writer.u8(head.dataType)
  writer.u16(0)
  writer.u32(head.timeoutMs)
  writer.bytes(head.route)
  writer.u8(head.traceparent.length)
  if (head.traceparent.length > 0) writer.bytes(Buffer.from(head.traceparent, 'latin1'))
  writer.u16(head.metadata.length)
  if (head.metadata.length > 0) writer.bytes(head.metadata)
}

/**
 * Writes the head in `bytes` again, with `caller` and `extras` in place of whatever it held of these, and `traceparent`,
 * where it is not empty, in place of its own; what follows the head goes along as it is.
 */
export function writeRelayedHead(
  writer: FrameWriter,
  head: OpenHead,
  { caller, traceparent, extras }: RelayedNames,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  writer.slice(bytes, start, start + EXTRAS_AT)
  writer.u16(extras.length)
  writer.slice(bytes, start + EXTRAS_AT + 2, start + FIXED_BYTES + 1 + head.cluster.length)
  writer.bytes(caller)
  const afterName = head.afterCaller + 1 + head.name.length
  if (traceparent === '') writer.slice(bytes, head.afterCaller, head.metadataEnd)
  else {
    writer.slice(bytes, head.afterCaller, afterName)
    writer.bytes(shortText(traceparent))
    writer.slice(bytes, afterName + 1 + head.traceparent.length, head.metadataEnd)
  }
  if (extras.length > 0) writer.bytes(extras)
  writer.slice(bytes, head.bodyStart, end)
}

/** What a relay writes into a head in its own name. */
export interface RelayedNames {
  /** From encodeName. */
  readonly caller: Buffer
  readonly traceparent: string
  /** From encodeExtras. */
  readonly extras: Buffer
}

/** Bytes that a head grows by when this `traceparent` takes the place of its own. */
export function tracingBytes({ traceparent: own }: OpenHead, traceparent: string): number {
  return traceparent === '' ? 0 : traceparent.length - own.length
}

/** The same head, its bytes lying elsewhere. */
export function moveHead(head: OpenHead, by: number): OpenHead {
  return {
    ...head,
    afterCaller: head.afterCaller + by,
    metadataStart: head.metadataStart + by,
    metadataEnd: head.metadataEnd + by,
    bodyStart: head.bodyStart + by,
  }
}

/** Takes time that has passed off the deadline in a head; a call that has one keeps one. */
export function shortenTimeout(bytes: Buffer, start: number, passedMs: number): void {
  const timeoutMs = bytes.readUInt32BE(start + 4)
  if (timeoutMs === 0) return
  bytes.writeUInt32BE(Math.max(1, Math.floor(timeoutMs - passedMs)), start + 4)
}

/** A name as it stands in a head. */
export function encodeName(name: string): Buffer {
  return shortText(name)
}

/** Only a single request that is whole may stand in OPEN. @throws MALFORMED_CALL */
export function judgeBody({ kind, bodyStart }: OpenHead, end: number, isEnded: boolean): void {
  if (bodyStart === end) return
  if (isEnded && (kind === KIND.unary || kind === KIND.serverStream)) return
  throw malformed('is followed by a body that its kind, or the lack of END, does not allow')
}

/** Reads the head that begins at `start`, after the credit. @throws MALFORMED_CALL */
export function readHead(bytes: Buffer, start: number, end: number): OpenHead {
  if (end - start < FIXED_BYTES + 6) throw cutShort()
  let at = start + FIXED_BYTES
  const text = (): string => {
    const lengthBytes = bytes[at] as number
    const from = at + 1
    at = from + lengthBytes
    // Two more bytes always follow a text: what is past the end is caught before it is read.
    if (at + 2 > end) throw cutShort()
    return lengthBytes === 0 ? '' : bytes.toString('latin1', from, at)
  }
  const cluster = judged(text())
  const caller = judged(text())
  const afterCaller = at
  const name = judged(text())
  const traceparent = text()
  const metadataStart = at + 2
  const metadataEnd = metadataStart + bytes.readUInt16BE(at)
  const bodyStart = metadataEnd + bytes.readUInt16BE(start + EXTRAS_AT)
  if (bodyStart > end) throw cutShort()
  const kind = bytes[start] as number
  if (kind < KIND.unary || kind > KIND.sealed) throw malformed('is of an unknown kind')
  return {
    kind,
    dataType: bytes[start + 1] as number,
    timeoutMs: bytes.readUInt32BE(start + 4),
    cluster,
    caller,
    name,
    traceparent,
    afterCaller,
    metadataStart,
    metadataEnd,
    bodyStart,
  }
}

function judged(name: string): string {
  if (name === '' || PRINTABLE_ASCII.test(name)) return name
  throw malformed('has a name with other characters than printable ASCII without spaces')
}

function cutShort(): PosternError {
  return malformed('ends before its last field')
}

function malformed(how: string): PosternError {
  return new PosternError('MALFORMED_CALL', `the head of OPEN ${how}`)
}
