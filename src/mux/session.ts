import assert from 'node:assert/strict'
import { asPosternError, PosternError, type ErrorCode } from '../base/errors.ts'
import { EXTENSION_TYPE_MIN, FLAG_END, FRAME } from '../wire/frame.ts'
import { FrameDecoder } from '../wire/frame-decoder.ts'
import type { FrameWriter } from '../wire/frame-writer.ts'
import {
  chooseVersion,
  readHello,
  VERSION_MAX,
  VERSION_MIN,
  writeHello,
  type Hello,
  FEATURE_HEADERS,
  FEATURES,
} from '../wire/hello.ts'
import { AbuseGuard } from './abuse.ts'
import { OpenLimits } from './open-limits.ts'
import { CallBacklog } from './call-backlog.ts'
import { Departure, type GoAwayOptions } from './departure.ts'
import { Liveness } from './liveness.ts'
import { Output } from './output.ts'
import { SessionWindow } from './receive-window.ts'
import { SessionFrames } from './session-frames.ts'
import { SessionEvents } from './session-events.ts'
import type { MuxSessionOptions, SessionOwner } from './session-owner.ts'
import { StreamFrames } from './stream-frames.ts'
import { StreamTable } from './stream-table.ts'
import type { StreamHost } from './stream-host.ts'
import { MuxStream, type StreamSink } from './stream.ts'

/** The bytes of DATA that a session has moved and may move. All but the middle two are absolute offsets. */
export interface SessionAccount {
  readonly received: number
  /** How far the peer may send. */
  readonly granted: number
  /** Received and not yet consumed. */
  readonly bufferedBytes: number
  /** Sum of the windows of all open streams. */
  readonly windowsBytes: number
  readonly sent: number
  /** How far we may send. */
  readonly credit: number
}

/** Its peer's hello and the time of what came last are known later. */
type MutableHost = {
  -readonly [Field in keyof StreamHost<MuxStream>]: StreamHost<MuxStream>[Field]
}

/**
 * The multiplexer of one connection (docs/PROTOCOL.md): bytes and monotonic time in, bytes and
 * events out. It owns neither socket nor timer.
 *
 * - inputs: `receive`, `handleTimeout`
 * - effects: `takeOutput`, `nextTimeoutMs`
 * - verbs: `beginOpen`/`endOpen`, `goAway`, `close`; the rest is on the streams
 */
export class MuxSession {
  readonly #host: MutableHost
  readonly #output = new Output()
  readonly #owner: SessionOwner
  readonly #events: SessionEvents
  #bytesIn = 0
  #bytesOut = 0
  readonly #table: StreamTable
  readonly #streamFrames: StreamFrames
  readonly #sessionFrames: SessionFrames
  readonly #decoder = new FrameDecoder()
  readonly #abuse: AbuseGuard
  readonly #liveness: Liveness
  readonly #openLimits: OpenLimits
  readonly #backlog: CallBacklog
  #peer: Hello | undefined
  readonly #departure = new Departure()
  #closed: PosternError | undefined
  #isAwake = false

  /** @throws BUDGET_EXHAUSTED when the process has no room for another session */
  constructor(options: MuxSessionOptions) {
    const { limits, budget } = options
    if (!budget.reserve(limits.sessionCreditBytes)) {
      throw new PosternError('BUDGET_EXHAUSTED', 'no byte budget is left for another session')
    }
    this.#owner = options.owner
    this.#events = new SessionEvents((event) => {
      options.owner.onEvent(event)
    })
    this.#host = this.#makeHost(new SessionWindow(limits, budget), options.nowMs)
    this.#abuse = new AbuseGuard(limits)
    this.#liveness = new Liveness(limits, options.nowMs)
    this.#table = new StreamTable(options.role)
    this.#backlog = new CallBacklog(budget)
    const output = this.#output
    this.#openLimits = new OpenLimits({ limits, table: this.#table, output, abuse: this.#abuse })
    this.#sessionFrames = new SessionFrames({
      host: this.#host,
      table: this.#table,
      abuse: this.#abuse,
      liveness: this.#liveness,
      departure: this.#departure,
      events: this.#events,
    })
    this.#streamFrames = new StreamFrames({
      host: this.#host,
      table: this.#table,
      abuse: this.#abuse,
      streams: options.streams,
      refusal: () =>
        this.#departure.isSent ? 'GOING_AWAY' : this.#openLimits.refusal(this.#host.nowMs),
    })
  }

  /** What its streams may use of the session. */
  #makeHost(window: SessionWindow, nowMs: number): MutableHost {
    const output = this.#output
    return {
      output,
      control: output.control,
      window,
      nowMs,
      peerStreamCredit: 0,
      peerReadsHeaders: false,
      wake: () => {
        this.#wake()
      },
      fitBacklog: () => {
        this.#fitBacklog()
      },
      didReset: () => {
        this.#openLimits.didReset(this.#host.nowMs)
      },
      forget: (stream) => {
        if (!this.#table.remove(stream)) return
        if (this.#departure.isUnderWay) this.#maybeDrained()
      },
    }
  }

  /** Sends HELLO: to be called once the owner can take calls. */
  start(): void {
    const { streamsMax, sessionCreditBytes, streamCreditBytes } = this.#host.window.limits
    writeHello(this.#output.control, {
      versionMin: VERSION_MIN,
      versionMax: VERSION_MAX,
      features: FEATURES,
      streamsMax,
      sessionCredit: sessionCreditBytes,
      streamCredit: streamCreditBytes,
    })
    this.#wake()
  }

  get isReady(): boolean {
    return this.#peer !== undefined && this.#closed === undefined
  }

  /** New streams may be opened: ready, and neither side is going away. */
  get isOpen(): boolean {
    return this.isReady && !this.#departure.isUnderWay
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

  /** Whether the peer's HELLO had a feature bit; false before it. */
  peerHas(feature: bigint): boolean {
    return ((this.#peer?.features ?? 0n) & feature) !== 0n
  }

  get bytesIn(): number {
    return this.#bytesIn
  }

  get bytesOut(): number {
    return this.#bytesOut
  }

  /** What its two directions have come to, in bytes. */
  get account(): SessionAccount {
    const { window } = this.#host
    const { received, limit: granted, bufferedBytes, windowsBytes } = window
    const { sent, limit: credit } = this.#output
    return { received, granted, bufferedBytes, windowsBytes, sent, credit }
  }

  /** There is something to take at once. */
  get hasOutput(): boolean {
    return this.#output.isReady
  }

  /**
   * Begins a stream. The caller writes the head, and the body if there is one, with `writer`, and
   * calls `endOpen` at once. `isEnded`: nothing will follow. `wantsData`: a window is opened for the
   * peer's data from the start; without it the peer's answer must fit a trailer or wait one round trip.
   * @throws GOING_AWAY, STREAM_LIMIT, BUDGET_EXHAUSTED, CONNECTION_LOST; nothing was written
   */
  beginOpen(sink: StreamSink, isEnded: boolean, wantsData: boolean): MuxStream {
    this.#judgeOpen()
    const stream = new MuxStream(this.#host, this.#table.nextId, {
      isInbound: false,
      isEnded,
      sink,
    })
    const credit = wantsData ? stream.reserveCredit() : 0
    this.#table.addOurs(stream)
    this.#output.calls.begin(FRAME.OPEN, isEnded ? FLAG_END : 0, stream.id)
    this.#output.calls.u32(credit)
    return stream
  }

  get writer(): FrameWriter {
    return this.#output.calls
  }

  endOpen(): void {
    this.#output.calls.end()
    this.#wake()
  }

  /** Takes no new streams from now on; running ones go on. */
  goAway(code: ErrorCode, text: string, options: GoAwayOptions = {}): void {
    if (this.#departure.isSent || this.#closed !== undefined) return
    this.#departure.send(this.#output.control, this.#table.lastPeerId, code, text, options)
    this.#wake()
    this.#events.push({ name: 'leaving' })
    this.#maybeDrained()
  }

  /** Ends the session: the peer is told the reason, and when to come back; every stream is lost. */
  close(error: PosternError, reconnectAfterMs = 0): void {
    if (this.#closed !== undefined) return
    const { code, rawMessage } = error
    const options = { reconnectAfterMs }
    this.#departure.send(this.#output.control, this.#table.lastPeerId, code, rawMessage, options)
    this.#end(error)
  }

  /** The connection is gone: nothing can be sent any more. */
  lose(error: PosternError): void {
    if (this.#closed === undefined) this.#end(error)
  }

  receive(chunk: Buffer, nowMs: number): void {
    if (this.#closed !== undefined) return
    this.#host.nowMs = nowMs
    this.#bytesIn += chunk.length
    this.#liveness.heard(nowMs)
    this.#events.hold()
    try {
      this.#decoder.push(chunk, this.#onFrame)
      this.#fitBacklog()
    } catch (error) {
      // Only the peer's faults are errors of ours here; anything else is a bug and must be seen.
      if (!(error instanceof PosternError)) throw error
      this.close(asPosternError(error))
    } finally {
      this.#events.release()
    }
  }

  /** Fills `into` with what is most urgent; returns how many bytes. */
  takeOutput(into: Buffer): number {
    this.#events.hold()
    const count = this.#output.fill(into)
    this.#bytesOut += count
    if (count === 0 || !this.#output.isReady) this.#isAwake = false
    if (this.#output.calls.length === 0) this.#backlog.release()
    this.#events.release()
    return count
  }

  /** When `handleTimeout` wants to be called, in monotonic ms. */
  get nextTimeoutMs(): number {
    return this.#closed === undefined ? this.#liveness.nextTimeoutMs : Number.POSITIVE_INFINITY
  }

  handleTimeout(nowMs: number): void {
    this.#host.nowMs = nowMs
    if (this.#closed !== undefined) return
    if (this.#liveness.isSilent(nowMs)) {
      const seconds = String(Math.round(this.#host.window.limits.silenceMs / 1000))
      this.close(
        new PosternError('PEER_SILENT', `nothing was heard from the peer for ${seconds} s`),
      )
      return
    }
    this.#sessionFrames.ping()
  }

  #fitBacklog(): void {
    if (this.#closed !== undefined || this.#backlog.fit(this.#output.calls.length)) return
    const text = 'no byte budget is left for answers that the peer does not read'
    this.close(new PosternError('BUDGET_EXHAUSTED', text))
  }

  /** The owner was told of output, and has not taken all of it. */
  get isAwake(): boolean {
    return this.#isAwake
  }

  #wake(): void {
    // What waits for credit is no output: told of it, the owner would find nothing to take.
    if (this.#isAwake || !this.#output.isReady) return
    this.#isAwake = true
    this.#owner.onOutput()
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
      this.#abuse.empty(this.#host.nowMs)
    } else if (this.#peer === undefined) {
      this.#receiveHello(type, id, bytes, start, end)
    } else if (id === 0) {
      this.#sessionFrames.receive(type, bytes, start, end)
    } else this.#streamFrames.receive(type, flags, id, bytes, start, end)
    if (this.#output.control.length > this.#host.window.limits.controlBacklogBytesMax) {
      throw new PosternError('FLOOD', 'the peer provokes answers faster than it takes them')
    }
    // Between frames the state is whole.
    if (this.#events.isWaiting) this.#events.tell()
  }

  #receiveHello(type: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (type !== FRAME.HELLO || id !== 0) {
      throw new PosternError('PROTOCOL_VIOLATION', 'the first frame is not HELLO')
    }
    const hello = readHello(bytes, start, end)
    chooseVersion(hello)
    this.#peer = hello
    this.#host.peerStreamCredit = hello.streamCredit
    this.#host.peerReadsHeaders = (hello.features & FEATURE_HEADERS) !== 0n
    this.#output.limit = hello.sessionCredit
    this.#liveness.start(this.#host.nowMs)
    this.#sessionFrames.ping()
    this.#events.push({ name: 'ready' })
  }

  #judgeOpen(): void {
    if (this.#closed !== undefined)
      throw new PosternError('CONNECTION_LOST', 'the session has ended')
    assert(this.#peer !== undefined, 'open before the peer said hello')
    if (!this.isOpen) throw this.#departure.refusal()
    this.#openLimits.judgeOwn(this.#peer.streamsMax, this.#host.nowMs)
  }

  #maybeDrained(): void {
    if (this.#table.size === 0 && this.#closed === undefined) this.#events.push({ name: 'drained' })
  }

  #end(error: PosternError): void {
    this.#closed = error
    for (const stream of this.#table.all()) stream.receiveReset('CONNECTION_LOST')
    this.#table.clear()
    this.#host.window.release()
    this.#backlog.release()
    this.#wake()
    this.#events.push({ name: 'closed', error })
  }
}
