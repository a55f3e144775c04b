import { PosternError } from '../base/errors.ts'
import { readU64 } from '../wire/byte-reader.ts'
import { FRAME } from '../wire/frame.ts'
import { readGoAway, type GoAway } from '../wire/goaway.ts'
import type { AbuseGuard } from './abuse.ts'
import type { Departure } from './departure.ts'
import type { Liveness } from './liveness.ts'
import type { SessionEvents } from './session-events.ts'
import type { StreamHost } from './stream-host.ts'
import type { StreamTable } from './stream-table.ts'
import type { MuxStream } from './stream.ts'

const RETRY = true

/** The values and collaborators that SessionFrames is given. */
export interface SessionFramesPorts {
  readonly host: StreamHost<MuxStream>
  readonly table: StreamTable
  readonly abuse: AbuseGuard
  readonly liveness: Liveness
  readonly departure: Departure
  readonly events: SessionEvents
}

/** What a session does with the frames of stream 0 (PROTOCOL 5), but for HELLO. */
export class SessionFrames {
  readonly #ports: SessionFramesPorts

  constructor(ports: SessionFramesPorts) {
    this.#ports = ports
  }

  /** Takes a frame that is of the session itself. @throws the codes that end a session */
  receive(type: number, bytes: Buffer, start: number, end: number): void {
    const { host, abuse } = this.#ports
    switch (type) {
      case FRAME.PING:
        abuse.ping(host.nowMs)
        host.control.begin(FRAME.PONG, 0, 0)
        host.control.slice(bytes, start, end)
        host.control.end()
        host.wake()
        return
      case FRAME.PONG:
        this.#pong(bytes, start)
        return
      case FRAME.WINDOW:
        this.#limit(readU64(bytes, start))
        return
      case FRAME.GOAWAY:
        this.#goAway(readGoAway(bytes, start, end))
        return
      default:
        throw new PosternError('PROTOCOL_VIOLATION', `frame type ${String(type)} on stream 0`, {
          type,
        })
    }
  }

  /** Writes a PING where one is due. */
  ping(): void {
    const { host, liveness } = this.#ports
    const nonce = liveness.takePing(host.nowMs)
    if (nonce === undefined) return
    host.control.begin(FRAME.PING, 0, 0)
    host.control.u64(nonce)
    host.control.end()
    host.wake()
  }

  #pong(bytes: Buffer, start: number): void {
    const { host, liveness, abuse } = this.#ports
    // Nonces of ours are small: one that is not exact in a double is not ours.
    const nonce = bytes.readUInt32BE(start) * 2 ** 32 + bytes.readUInt32BE(start + 4)
    const isOurs = liveness.pong(nonce, host.nowMs)
    if (isOurs) {
      host.window.rttMinMs = liveness.rttMinMs ?? 0
      this.ping()
    } else abuse.empty(host.nowMs)
  }

  #limit(limit: number): void {
    const { host, abuse } = this.#ports
    if (limit <= host.output.limit) {
      abuse.empty(host.nowMs)
      return
    }
    host.output.limit = limit
    if (host.output.isReady) host.wake()
  }

  #goAway(goAway: GoAway): void {
    const { table, abuse, departure, events } = this.#ports
    if (!departure.receive(goAway)) abuse.goAway()
    events.push({ name: 'go-away', goAway })
    const refused = table.oursAbove(goAway.lastId)
    for (const stream of refused) stream.receiveRefuse('GOING_AWAY', RETRY, goAway.text)
    // With the last of those refused, the session has said so already.
    if (refused.length === 0 && table.size === 0) events.push({ name: 'drained' })
  }
}
