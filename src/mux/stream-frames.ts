import { PosternError, printable, type ErrorCode } from '../base/errors.ts'
import { readU64 } from '../wire/byte-reader.ts'
import { codeOfWireNumber } from '../wire/codes.ts'
import { FLAG_END, FRAME } from '../wire/frame.ts'
import { writeRefuse } from '../wire/refuse.ts'
import type { AbuseGuard } from './abuse.ts'
import type { StreamHandler } from './session-owner.ts'
import type { StreamHost } from './stream-host.ts'
import { MuxStream } from './stream.ts'
import type { StreamTable } from './stream-table.ts'

const CREDIT_BYTES = 4
const RETRY = true
/** Frames that belong to the session, never to a stream. */
const SESSION_TYPES: readonly number[] = [FRAME.HELLO, FRAME.PING, FRAME.PONG, FRAME.GOAWAY]

/** The values and collaborators that StreamFrames is given. */
export interface StreamFramesPorts {
  readonly host: StreamHost<MuxStream>
  readonly table: StreamTable
  readonly abuse: AbuseGuard
  readonly streams: StreamHandler
  /** Why no new stream of the peer's is taken now, or undefined. */
  refusal(): ErrorCode | undefined
}

/** What a session does with the frames of its streams (PROTOCOL 5 and 7). */
export class StreamFrames {
  readonly #ports: StreamFramesPorts

  constructor(ports: StreamFramesPorts) {
    this.#ports = ports
  }

  /** Takes a frame that is of a stream. @throws the codes that end a session */
  receive(
    type: number,
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (type === FRAME.OPEN) {
      this.#open(flags, id, bytes, start, end)
      return
    }
    const stream = this.#ports.table.get(id)
    if (stream === undefined) this.#late(type, id, end - start)
    else this.#dispatch(stream, type, flags, bytes, start, end)
  }

  #open(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    const { host, table, streams } = this.#ports
    table.claimTheirs(id)
    const refusal = this.#ports.refusal()
    if (refusal !== undefined) {
      writeRefuse(host.control, id, refusal, RETRY, '')
      host.wake()
      return
    }
    const isEnded = (flags & FLAG_END) !== 0
    const stream = new MuxStream(host, id, { isInbound: true, isEnded, sink: undefined })
    table.addTheirs(stream)
    const credit = bytes.readUInt32BE(start)
    if (credit > 0) stream.receiveLimit(credit)
    const { nowMs } = host
    streams.open({ stream, bytes, start: start + CREDIT_BYTES, end, isEnded, nowMs })
  }

  #dispatch(
    stream: MuxStream,
    type: number,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const { abuse, host } = this.#ports
    switch (type) {
      case FRAME.TRAILER:
        stream.receiveTrailer(bytes, start, end)
        return
      case FRAME.DATA:
        this.#data(stream, bytes.subarray(start, end), (flags & FLAG_END) !== 0)
        return
      case FRAME.WINDOW:
        if (!stream.receiveLimit(readU64(bytes, start))) abuse.empty(host.nowMs)
        return
      case FRAME.ACCEPT:
        stream.receiveAccept(readU64(bytes, start))
        return
      case FRAME.REFUSE: {
        const code = codeOfWireNumber(bytes.readUInt16BE(start))
        const text = printable(bytes.toString('utf8', start + 3, end), end - start)
        stream.receiveRefuse(code, bytes[start + 2] === 1, text)
        return
      }
      case FRAME.RESET:
        if (stream.isInbound) abuse.reset(host.nowMs)
        stream.receiveReset(codeOfWireNumber(bytes.readUInt16BE(start)))
        return
      case FRAME.HEADERS:
        stream.receiveHeaders(bytes, start, end)
        return
      case FRAME.STOP:
        stream.receiveStop(codeOfWireNumber(bytes.readUInt16BE(start)))
        return
      default:
        throw unexpected(type, stream.id)
    }
  }

  #data(stream: MuxStream, bytes: Buffer, isEnd: boolean): void {
    const { abuse, host } = this.#ports
    if (bytes.length === 0 && !isEnd) abuse.empty(host.nowMs)
    host.window.charge(bytes.length)
    stream.receiveData(bytes, isEnd)
  }

  /** For a stream that has ended, as the peer may not know yet, it is normal; for one that never was, not. */
  #late(type: number, id: number, lengthBytes: number): void {
    const { abuse, host, table } = this.#ports
    if (!table.wasOpen(id) || SESSION_TYPES.includes(type)) throw unexpected(type, id)
    if (type === FRAME.DATA) {
      host.window.charge(lengthBytes)
      host.window.consumed += lengthBytes
      const limit = host.window.grant()
      if (limit !== undefined) {
        host.control.begin(FRAME.WINDOW, 0, 0)
        host.control.u64(limit)
        host.control.end()
        host.wake()
      }
    }
    abuse.late(host.nowMs)
  }
}

function unexpected(type: number, id: number): PosternError {
  const text = `frame type ${String(type)} for stream ${String(id)}`
  return new PosternError('PROTOCOL_VIOLATION', text, { type, id })
}
