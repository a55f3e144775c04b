import { PosternError } from '../base/errors.ts'
import type { MuxStream } from './stream.ts'

const STREAM_ID_MAX = 0xffff_ffff

/** The streams of one session that are not over, and which ids were ever used. */
export class StreamTable {
  inboundCount = 0
  /** Highest id that the peer has opened. */
  lastPeerId = 0
  readonly #streams = new Map<number, MuxStream>()
  readonly #ourParity: number
  #nextId: number

  /** The dialler opens odd ids, the acceptor even ones. */
  constructor(role: 'dialer' | 'acceptor') {
    this.#ourParity = role === 'dialer' ? 1 : 0
    this.#nextId = role === 'dialer' ? 1 : 2
  }

  get size(): number {
    return this.#streams.size
  }

  get outboundCount(): number {
    return this.#streams.size - this.inboundCount
  }

  /** The id that our next stream will have. */
  get nextId(): number {
    return this.#nextId
  }

  get isUsedUp(): boolean {
    return this.#nextId > STREAM_ID_MAX
  }

  get(id: number): MuxStream | undefined {
    return this.#streams.get(id)
  }

  /** A copy: what is done to one stream may end others. */
  all(): MuxStream[] {
    return [...this.#streams.values()]
  }

  /** Streams of ours with an id above `id`: a copy, newest last. */
  oursAbove(id: number): MuxStream[] {
    const streams: MuxStream[] = []
    for (const stream of this.#streams.values())
      if (!stream.isInbound && stream.id > id) streams.push(stream)
    return streams
  }

  addOurs(stream: MuxStream): void {
    this.#nextId += 2
    this.#streams.set(stream.id, stream)
  }

  addTheirs(stream: MuxStream): void {
    this.inboundCount++
    this.#streams.set(stream.id, stream)
  }

  /** False when it was not there. */
  remove(stream: MuxStream): boolean {
    if (!this.#streams.delete(stream.id)) return false
    if (stream.isInbound) this.inboundCount--
    return true
  }

  clear(): void {
    this.#streams.clear()
    this.inboundCount = 0
  }

  /** Takes note of an id that the peer opens. @throws PROTOCOL_VIOLATION unless it is a next one */
  claimTheirs(id: number): void {
    if ((id & 1) === this.#ourParity || id <= this.lastPeerId) {
      const text = `OPEN with stream id ${String(id)}, which is not next`
      throw new PosternError('PROTOCOL_VIOLATION', text, { id })
    }
    this.lastPeerId = id
  }

  wasOpen(id: number): boolean {
    return (id & 1) === this.#ourParity ? id < this.#nextId : id <= this.lastPeerId
  }
}
