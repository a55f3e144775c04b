import assert from 'node:assert/strict'
import { asPosternError, PosternError, type ErrorCode } from '../base/errors.ts'
import { readU64 } from '../wire/byte-reader.ts'
import { EXTENSION_TYPE_MIN, FLAG_END, FRAME } from '../wire/frame.ts'
import { FrameDecoder } from '../wire/frame-decoder.ts'
import type { FrameWriter } from '../wire/frame-writer.ts'
import { readGoAway, writeGoAway, type GoAway } from '../wire/goaway.ts'
import {
  chooseVersion,
  readHello,
  VERSION_MAX,
  VERSION_MIN,
  writeHello,
  type Hello,
} from '../wire/hello.ts'
import { AbuseGuard } from './abuse.ts'
import type { MuxLimits } from './limits.ts'
import { OpenLimits } from './open-limits.ts'
import { CallBacklog } from './call-backlog.ts'
import { Liveness } from './liveness.ts'
import { Output } from './output.ts'
import { SessionWindow } from './receive-window.ts'
import type { MuxSessionOptions, SessionOwner } from './session-owner.ts'
import { refusalAfter } from './refusal-after.ts'
import { StreamFrames } from './stream-frames.ts'
import { StreamTable } from './stream-table.ts'
import type { StreamHost } from './stream-host.ts'
import { MuxStream, type StreamSink } from './stream.ts'

const RETRY = true

/**
 * The multiplexer of one connection (docs/PROTOCOL.md): bytes and monotonic time in, bytes and
 * calls to its owner out. It owns neither socket nor timer.
 *
 * - inputs: `receive`, `handleTimeout`
 * - effects: `takeOutput`, `nextTimeoutMs`
 * - verbs: `beginOpen`/`endOpen`, `goAway`, `close`; the rest is on the streams
 */
export class MuxSession implements StreamHost<MuxStream> {
  readonly output = new Output()
  readonly window: SessionWindow
  readonly limits: MuxLimits
  nowMs: number
  bytesIn = 0
  bytesOut = 0
  readonly #owner: SessionOwner
  readonly #table: StreamTable
  readonly #streamFrames: StreamFrames
  readonly #decoder = new FrameDecoder()
  readonly #abuse: AbuseGuard
  readonly #liveness: Liveness
  readonly #openLimits: OpenLimits
  readonly #backlog: CallBacklog
  #peer: Hello | undefined
  #goAwaySent = false
  #goAwayReceived: GoAway | undefined
  #closed: PosternError | undefined
  #isAwake = false

  /** @throws BUDGET_EXHAUSTED when the process has no room for another session */
  constructor(options: MuxSessionOptions) {
    const { limits, budget } = options
    if (!budget.reserve(limits.sessionCreditBytes)) {
      throw new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for another session')
    }
    this.limits = limits
    this.nowMs = options.nowMs
    this.window = new SessionWindow(limits, budget)
    this.#owner = options.owner
    this.#abuse = new AbuseGuard(limits)
    this.#liveness = new Liveness(limits, options.nowMs)
    this.#table = new StreamTable(options.role)
    this.#backlog = new CallBacklog(budget)
    const { output } = this
    this.#openLimits = new OpenLimits({ limits, table: this.#table, output, abuse: this.#abuse })
    this.#streamFrames = new StreamFrames({
      host: this,
      table: this.#table,
      abuse: this.#abuse,
      owner: options.owner,
      refusal: () => (this.#goAwaySent ? 'GOING_AWAY' : this.#openLimits.refusal(this.nowMs)),
    })
  }

  /** Sends HELLO: to be called once the owner can take calls. */
  start(): void {
    const { streamsMax, sessionCreditBytes, streamCreditBytes } = this.limits
    writeHello(this.output.control, {
      versionMin: VERSION_MIN,
      versionMax: VERSION_MAX,
      features: 0n,
      streamsMax,
      sessionCredit: sessionCreditBytes,
      streamCredit: streamCreditBytes,
    })
    this.wake()
  }

  get isReady(): boolean {
    return this.#peer !== undefined && this.#closed === undefined
  }

  /** New streams may be opened: ready, and neither side is going away. */
  get isOpen(): boolean {
    return this.isReady && !this.#goAwaySent && this.#goAwayReceived === undefined
  }

  get streamCount(): number {
    return this.#table.size
  }

  get rttMs(): number | undefined {
    return this.#liveness.rttMs
  }

  get lateFrames(): number {
    return this.#abuse.lateFrames
  }

  /** Streams that the peer lets us hold open; 0 before its hello. */
  get peerStreamsMax(): number {
    return this.#peer?.streamsMax ?? 0
  }

  get peerStreamCredit(): number {
    return this.#peer?.streamCredit ?? 0
  }

  /**
   * Begins a stream. The caller writes the head, and the body if there is one, with `writer`, and
   * calls `endOpen` at once. `isEnded`: nothing will follow. `wantsData`: a window is opened for the
   * peer's data from the start; without it the peer's answer must fit a trailer or wait one round trip.
   * @throws GOING_AWAY, STREAM_LIMIT, BUDGET_EXHAUSTED, CONNECTION_LOST; nothing was written
   */
  beginOpen(sink: StreamSink, isEnded: boolean, wantsData: boolean): MuxStream {
    this.#judgeOpen()
    const stream = new MuxStream(this, this.#table.nextId, { isInbound: false, isEnded, sink })
    const credit = wantsData ? stream.reserveCredit() : 0
    this.#table.addOurs(stream)
    this.output.calls.begin(FRAME.OPEN, isEnded ? FLAG_END : 0, stream.id)
    this.output.calls.u32(credit)
    return stream
  }

  get writer(): FrameWriter {
    return this.output.calls
  }

  endOpen(): void {
    this.output.calls.end()
    this.wake()
  }

  /** Takes no new streams from now on; running ones go on. */
  goAway(
    code: ErrorCode,
    text: string,
    options: Partial<Pick<GoAway, 'reconnectAfterMs' | 'alternates'>> = {},
  ): void {
    if (this.#goAwaySent || this.#closed !== undefined) return
    this.#goAwaySent = true
    const { reconnectAfterMs = 0, alternates = [] } = options
    writeGoAway(this.output.control, {
      lastId: this.#table.lastPeerId,
      code,
      reconnectAfterMs,
      text,
      alternates,
    })
    this.wake()
    this.#maybeDrained()
  }

  /** Ends the session: the peer is told the reason, and when to come back; every stream is lost. */
  close(error: PosternError, reconnectAfterMs = 0): void {
    if (this.#closed !== undefined) return
    const goAway = {
      lastId: this.#table.lastPeerId,
      code: error.code,
      reconnectAfterMs,
      alternates: [],
    }
    writeGoAway(this.output.control, { ...goAway, text: error.rawMessage })
    this.#end(error)
  }

  /** The connection is gone: nothing can be sent any more. */
  lose(error: PosternError): void {
    if (this.#closed === undefined) this.#end(error)
  }

  receive(chunk: Buffer, nowMs: number): void {
    if (this.#closed !== undefined) return
    this.nowMs = nowMs
    this.bytesIn += chunk.length
    this.#liveness.heard(nowMs)
    try {
      this.#decoder.push(chunk, this.#onFrame)
      this.fitBacklog()
    } catch (error) {
      // Only the peer's faults are errors of ours here; anything else is a bug and must be seen.
      if (!(error instanceof PosternError)) throw error
      this.close(asPosternError(error))
    }
  }

  /** Fills `into` with what is most urgent; returns how many bytes. */
  takeOutput(into: Buffer): number {
    const count = this.output.fill(into)
    this.bytesOut += count
    if (count === 0 || !this.output.isReady) this.#isAwake = false
    if (this.output.calls.length === 0) this.#backlog.release()
    return count
  }

  /** When `handleTimeout` wants to be called, in monotonic ms. */
  get nextTimeoutMs(): number {
    return this.#closed === undefined ? this.#liveness.nextTimeoutMs : Number.POSITIVE_INFINITY
  }

  handleTimeout(nowMs: number): void {
    this.nowMs = nowMs
    if (this.#closed !== undefined) return
    if (this.#liveness.isSilent(nowMs)) {
      const seconds = String(Math.round(this.limits.silenceMs / 1000))
      this.close(
        new PosternError('PEER_SILENT', `nothing was heard from the peer for ${seconds} s`),
      )
      return
    }
    this.#ping()
  }

  #ping(): void {
    const nonce = this.#liveness.takePing(this.nowMs)
    if (nonce !== undefined) this.#writeNonce(FRAME.PING, nonce)
  }

  // For the streams.

  fitBacklog(): void {
    if (this.#closed !== undefined || this.#backlog.fit(this.output.calls.length)) return
    const text = 'no byte budget is left for answers that the peer does not read'
    this.close(new PosternError('BUDGET_EXHAUSTED', text))
  }

  get control(): FrameWriter {
    return this.output.control
  }

  /** The owner was told of output, and has not taken all of it. */
  get isAwake(): boolean {
    return this.#isAwake
  }

  wake(): void {
    // What waits for credit is no output: told of it, the owner would find nothing to take.
    if (this.#isAwake || !this.output.isReady) return
    this.#isAwake = true
    this.#owner.onOutput()
  }

  didReset(): void {
    this.#openLimits.didReset(this.nowMs)
  }

  forget(stream: MuxStream): void {
    if (!this.#table.remove(stream)) return
    if (this.#goAwaySent || this.#goAwayReceived !== undefined) this.#maybeDrained()
  }

  // Frames.

  readonly #onFrame = (
    type: number,
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void => {
    if (this.#closed !== undefined) return
    if (type >= EXTENSION_TYPE_MIN) {
      this.#abuse.empty(this.nowMs)
    } else if (this.#peer === undefined) {
      this.#receiveHello(type, id, bytes, start, end)
    } else if (id === 0) {
      this.#receiveSessionFrame(type, bytes, start, end)
    } else this.#streamFrames.receive(type, flags, id, bytes, start, end)
    if (this.output.control.length > this.limits.controlBacklogBytesMax) {
      throw new PosternError('FLOOD', 'the peer provokes answers faster than it takes them')
    }
  }

  #receiveHello(type: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (type !== FRAME.HELLO || id !== 0) {
      throw new PosternError('PROTOCOL_VIOLATION', 'the first frame is not HELLO')
    }
    const hello = readHello(bytes, start, end)
    chooseVersion(hello)
    this.#peer = hello
    this.output.limit = hello.sessionCredit
    this.#liveness.start(this.nowMs)
    this.#ping()
    this.#owner.onReady()
  }

  #receiveSessionFrame(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FRAME.PING:
        this.#abuse.ping(this.nowMs)
        this.output.control.begin(FRAME.PONG, 0, 0)
        this.output.control.slice(bytes, start, end)
        this.output.control.end()
        this.wake()
        return
      case FRAME.PONG:
        this.#receivePong(bytes, start)
        return
      case FRAME.WINDOW:
        this.#receiveSessionLimit(readU64(bytes, start))
        return
      case FRAME.GOAWAY:
        this.#receiveGoAway(readGoAway(bytes, start, end))
        return
      default:
        throw new PosternError('PROTOCOL_VIOLATION', `frame type ${String(type)} on stream 0`, {
          type,
        })
    }
  }

  #receivePong(bytes: Buffer, start: number): void {
    // Nonces of ours are small: one that is not exact in a double is not ours.
    const nonce = bytes.readUInt32BE(start) * 2 ** 32 + bytes.readUInt32BE(start + 4)
    const isOurs = this.#liveness.pong(nonce, this.nowMs)
    if (isOurs) {
      this.window.rttMinMs = this.#liveness.rttMinMs ?? 0
      this.#ping()
    } else this.#abuse.empty(this.nowMs)
  }

  #receiveSessionLimit(limit: number): void {
    if (limit <= this.output.limit) {
      this.#abuse.empty(this.nowMs)
      return
    }
    this.output.limit = limit
    if (this.output.isReady) this.wake()
  }

  #receiveGoAway(goAway: GoAway): void {
    if (this.#goAwayReceived !== undefined) this.#abuse.goAway()
    this.#goAwayReceived = goAway
    for (const stream of this.#table.oursAbove(goAway.lastId))
      stream.receiveRefuse('GOING_AWAY', RETRY, goAway.text)
    this.#owner.onGoAway(goAway)
    this.#maybeDrained()
  }

  #judgeOpen(): void {
    if (this.#closed !== undefined)
      throw new PosternError('CONNECTION_LOST', 'the session has ended')
    assert(this.#peer !== undefined, 'open before the peer said hello')
    if (!this.isOpen) throw refusalAfter(this.#goAwayReceived)
    this.#openLimits.judgeOwn(this.#peer.streamsMax, this.nowMs)
  }

  #writeNonce(type: number, nonce: number): void {
    this.output.control.begin(type, 0, 0)
    this.output.control.u64(nonce)
    this.output.control.end()
    this.wake()
  }

  #maybeDrained(): void {
    if (this.#table.size === 0 && this.#closed === undefined) this.#owner.onDrained()
  }

  #end(error: PosternError): void {
    this.#closed = error
    for (const stream of this.#table.all()) stream.lose('CONNECTION_LOST')
    this.#table.clear()
    this.window.release()
    this.#backlog.release()
    this.wake()
    this.#owner.onClosed(error)
  }
}
