import type { Deadlined } from '../../base/deadline-wheel.ts'
import { BUDGET_SHARE, type ByteBudget } from '../../base/byte-budget.ts'
import type { Span } from '../../base/tracing.ts'
import { asPosternError, PosternError, type ErrorCode } from '../../base/errors.ts'
import type { MuxStream, StreamSink } from '../../mux/stream.ts'
import { PAYLOAD_BYTES_MAX } from '../../wire/frame.ts'
import {
  CREDIT_BYTES,
  isByteStream,
  KIND,
  moveHead,
  shortenTimeout,
  tracingBytes,
  writeRelayedHead,
  type OpenHead,
  type RelayedNames,
} from '../../wire/open-head.ts'
import { FEATURE_EXTRAS } from '../../wire/hello.ts'
import type { CallCounts } from '../../rpc/call-counts.ts'
import { statusNumber, statusOfCode } from '../../rpc/status.ts'
import type { AgentTunnel } from '../clusters/clusters.ts'
import type { Asked } from '../roles/roles.ts'

/** An OPEN as it came from a caller. */
export interface ArrivedOpen {
  readonly head: OpenHead
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly isEnded: boolean
}

const OK = 0
const RESOURCE_EXHAUSTED = statusNumber('RESOURCE_EXHAUSTED')
/** Tunnels that a stream is offered to, at most. */
const TRIES_MAX = 3

/** Refusals that are the agent's own trouble, not that of what lies behind it. */
const OVERLOADED: readonly ErrorCode[] = ['STREAM_LIMIT', 'BUDGET_EXHAUSTED', 'INTERNAL']

const NO_EXTRAS = Buffer.alloc(0)

/** How long after its deadline a call that neither end has ended is ended here, in ms. */
const DEADLINE_MARGIN_MS = 5000

/** A caller's connection, as the relays of its streams see it. */
export interface RelayPorts {
  /** Name of the caller, encoded. */
  readonly callerName: Buffer
  /** What else is known of it, encoded; empty: nothing. */
  readonly extras: Buffer
  /** The agent must be told: the name alone would pass for that of another caller. */
  readonly mustTell: boolean
  /** The caller's: a copy of an OPEN is kept in it until the stream is answered. */
  readonly budget: ByteBudget
  nowMs(): number
  watchDeadline(entry: Deadlined): void
  forgetDeadline(entry: Deadlined): void
  /** A tunnel is rid of the stream; told once for each that was tried. */
  onEnded(tunnel: AgentTunnel): void
  /** Whether the agent could answer. */
  onOutcome(tunnel: AgentTunnel, isAnswered: boolean): void
  /** Of what goes through, for metrics. */
  readonly counts: CallCounts
  /** How many bytes went through, of what follows the heads. */
  onPassed(isToAgent: boolean, bytes: number): void
  /** The relay has begun, or has ended: for what is to be judged anew. */
  onLive(relay: Relay, isLive: boolean): void
  /** The caller reset its stream. */
  onCallerReset(): void
  /** The span of a call's way through, where somebody wants spans. */
  spanOf(head: OpenHead): Span | undefined
  /** A tunnel that was not tried yet takes the stream; undefined: there is none. */
  another(head: OpenHead, tried: readonly AgentTunnel[]): AgentTunnel | undefined
}

/**
 * Joins a caller's stream to a stream of a tunnel that holds the cluster. Payload is passed on as it
 * is. A byte is consumed on the one side when it has gone out on the other, so the credit that a
 * sender sees is the far reader's, and what the relay holds lies within its windows. A stream that
 * an agent did not take, and has said so, is offered to another; any other end is the caller's to judge.
 */
export class Relay implements StreamSink, Deadlined {
  deadlineAtMs = 0
  wheelPrevious: Deadlined | undefined
  wheelNext: Deadlined | undefined
  /** What the stream asked for. */
  readonly asked: Asked
  readonly #host: RelayPorts
  readonly #near: MuxStream
  readonly #tried: AgentTunnel[] = []
  readonly #span: Span | undefined
  readonly #isForward: boolean
  readonly #startedAtMs: number
  #status = OK
  #hasStatus = false
  readonly #traceparent: string
  #far: MuxStream | undefined
  /** For another try, from a certain time on. */
  #kept: ArrivedOpen | undefined
  #keptAtMs = 0
  #isAnswered = false

  private constructor(host: RelayPorts, near: MuxStream, open: ArrivedOpen) {
    this.#host = host
    this.#near = near
    near.sink = this
    const { cluster, name, kind } = open.head
    this.asked = { cluster, name, kind }
    host.onLive(this, true)
    this.#span = host.spanOf(open.head)
    this.#isForward = isByteStream(open.head.kind)
    this.#startedAtMs = host.nowMs()
    const { timeoutMs } = open.head
    if (timeoutMs > 0) {
      this.deadlineAtMs = host.nowMs() + timeoutMs + DEADLINE_MARGIN_MS
      host.watchDeadline(this)
    }
    near.whenClosed(() => {
      host.onLive(this, false)
      if (this.deadlineAtMs > 0) host.forgetDeadline(this)
      this.#forget()
      // A forward ends without a status.
      this.#span?.end(this.#status)
      const durationMs = host.nowMs() - this.#startedAtMs
      host.counts.ended(this.#isForward, this.#status, durationMs)
    })
    const traceparent = this.#span?.traceparent ?? ''
    const headGrowth = toldBytes(host) + tracingBytes(open.head, traceparent)
    // A head that has no room left for a span of ours goes on below the caller's.
    this.#traceparent = roomFor(open, headGrowth) ? traceparent : ''
  }

  /**
   * Passes a stream on into a tunnel, or refuses it where no stream can be opened there. `hasOthers`: there are other
   * tunnels that could take it.
   */
  static start(
    host: RelayPorts,
    near: MuxStream,
    tunnel: AgentTunnel,
    open: ArrivedOpen,
    hasOthers: boolean,
  ): void {
    const relay = new Relay(host, near, open)
    if (!roomFor(open, toldBytes(host))) {
      host.onEnded(tunnel)
      relay.#ended(RESOURCE_EXHAUSTED, 'HEAD_TOO_LARGE')
      near.refuse('HEAD_TOO_LARGE', false, 'no room is left in the head for the name of the caller')
      return
    }
    if (hasOthers) relay.#keep(open)
    relay.#open(tunnel, open)
  }

  onAccept(): void {
    this.#answered(true)
    try {
      this.#near.accept(this)
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      this.#far?.reset('BUDGET_EXHAUSTED')
    }
  }

  onHeaders(_stream: MuxStream, bytes: Buffer, start: number, end: number): void {
    // It was taken there: nowhere else may it begin again.
    this.#forget()
    this.#host.onPassed(false, end - start)
    this.#near.writeHeaders(bytes, start, end)
  }

  onData(stream: MuxStream, bytes: Buffer): void {
    this.#movedOn(stream)
    const other = this.#other(stream)
    if (other?.takesData === true) {
      this.#host.onPassed(stream === this.#near, bytes.length)
      other.pass(bytes)
    } else stream.consume(bytes.length)
  }

  onSent(stream: MuxStream, count: number): void {
    this.#other(stream)?.consume(count)
  }

  onEnd(stream: MuxStream): void {
    this.#movedOn(stream)
    this.#other(stream)?.end()
  }

  onTrailer(stream: MuxStream, bytes: Buffer, start: number, end: number): void {
    this.#answered(true)
    if (end > start) this.#ended(bytes[start] ?? 0)
    const other = this.#other(stream)
    if (other !== undefined && !other.hasLocalEnded) {
      const writer = other.beginTrailer()
      writer.slice(bytes, start, end)
      this.#host.onPassed(false, end - start)
      other.endTrailer(writer)
    }
    // Answered: what is still queued for the responder is of no use to it.
    if (!stream.hasLocalEnded) {
      stream.receiveStop('CANCELLED')
      other?.discard()
    }
  }

  onRefuse(_stream: MuxStream, code: ErrorCode, canRetry: boolean, text: string): void {
    const tunnel = this.#tried.at(-1)
    const isOverloaded = OVERLOADED.includes(code)
    if (canRetry && this.#tryAnother()) {
      if (isOverloaded && tunnel !== undefined) this.#host.onOutcome(tunnel, false)
      return
    }
    this.#answered(!isOverloaded)
    this.#ended(statusNumber(statusOfCode(code)), code)
    this.#near.refuse(code, canRetry, text)
  }

  onReset(stream: MuxStream, code: ErrorCode): void {
    if (stream === this.#near) this.#host.onCallerReset()
    else this.#answered(code !== 'CONNECTION_LOST')
    this.#ended(statusNumber(statusOfCode(code)), code)
    const other = this.#other(stream)
    if (other === undefined) return
    other.reset(code)
    other.discard()
  }

  onWritable(): void {
    // Credit alone sets the pace: what is queued was never more than a window.
  }

  /** A caller that reads no more still gets the agent's trailer. */
  endsStopped(stream: MuxStream): boolean {
    return stream === this.#near
  }

  onStop(stream: MuxStream, code: ErrorCode): void {
    this.#movedOn(stream)
    const other = this.#other(stream)
    if (other === undefined) return
    other.stop(code)
    other.discard()
  }

  /** Neither side has ended the call in time, nor the margin that they are given for it. */
  onDeadline(): void {
    this.#far?.reset('DEADLINE_EXCEEDED')
    this.#near.reset('DEADLINE_EXCEEDED')
  }

  /** The caller may use it no more. */
  withdraw(code: ErrorCode): void {
    this.#ended(statusNumber(statusOfCode(code)), code)
    this.#far?.reset(code)
    this.#near.reset(code)
  }

  /** More than the OPEN has gone to this tunnel: the kept copy can no longer be replayed elsewhere. */
  #movedOn(stream: MuxStream): void {
    if (stream === this.#near) this.#forget()
  }

  #other(stream: MuxStream): MuxStream | undefined {
    return stream === this.#near ? this.#far : this.#near
  }

  #open(tunnel: AgentTunnel, { head, bytes, start, end, isEnded }: ArrivedOpen): void {
    const near = this.#near
    const host = this.#host
    const { session } = tunnel.connection
    this.#tried.push(tunnel)
    try {
      this.#far = session.beginOpen(this, isEnded, head.kind !== KIND.unary)
    } catch (error) {
      this.#far = undefined
      host.onEnded(tunnel)
      if (this.#tryAnother()) return
      const { code } = asPosternError(error)
      this.#ended(statusNumber(statusOfCode(code)), code)
      near.refuse(code, true, '')
      return
    }
    this.#far.whenClosed(() => {
      host.onEnded(tunnel)
    })
    host.onPassed(true, end - head.bodyStart)
    const names = this.#namesFor(session, { head, bytes, start, end, isEnded })
    writeRelayedHead(session.writer, head, names, bytes, start, end)
    session.endOpen()
  }

  /** To an agent of before, or without room for them, extras are left out. */
  #namesFor(session: AgentTunnel['connection']['session'], open: ArrivedOpen): RelayedNames {
    const { callerName: caller, extras } = this.#host
    const traceparent = this.#traceparent
    const growth = caller.length + tracingBytes(open.head, traceparent) + extras.length
    const isTold = extras.length > 0 && session.peerHas(FEATURE_EXTRAS) && roomFor(open, growth)
    return { caller, traceparent, extras: isTold ? extras : NO_EXTRAS }
  }

  /** False: no other tunnel takes the stream, or none may be asked any more. */
  #tryAnother(): boolean {
    const kept = this.#kept
    if (kept === undefined || this.#near.isClosed || this.#tried.length >= TRIES_MAX) return false
    const tunnel = this.#host.another(kept.head, this.#tried)
    if (tunnel === undefined) return false
    const nowMs = this.#host.nowMs()
    shortenTimeout(kept.bytes, 0, nowMs - this.#keptAtMs)
    this.#keptAtMs = nowMs
    this.#open(tunnel, kept)
    return true
  }

  /** The OPEN lies in a buffer that is used again: what may be sent once more is copied. */
  #keep(open: ArrivedOpen): void {
    const { bytes, start, end } = open
    const count = end - start
    if (!this.#host.budget.reserve(count, BUDGET_SHARE.message)) return
    const copy = Buffer.from(bytes.subarray(start, end))
    const head = moveHead(open.head, -start)
    this.#kept = { head, bytes: copy, start: 0, end: count, isEnded: open.isEnded }
    this.#keptAtMs = this.#host.nowMs()
  }

  /** How the call ended, as its caller sees it; the first word counts. */
  #ended(status: number, code?: ErrorCode): void {
    if (this.#hasStatus) return
    this.#hasStatus = true
    this.#status = status
    this.#span?.end(status, code)
  }

  #answered(isFine: boolean): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    this.#forget()
    const tunnel = this.#tried.at(-1)
    if (tunnel !== undefined) this.#host.onOutcome(tunnel, isFine)
  }

  #forget(): void {
    if (this.#kept === undefined) return
    this.#host.budget.release(this.#kept.end)
    this.#kept = undefined
  }
}

/** Bytes that a head grows by at least. */
function toldBytes({ callerName, extras, mustTell }: RelayPorts): number {
  return callerName.length + (mustTell ? extras.length : 0)
}

/** Whether the head of an OPEN may grow by so many bytes, and still be one frame. */
function roomFor({ start, end }: ArrivedOpen, growthBytes: number): boolean {
  return CREDIT_BYTES + end - start + growthBytes <= PAYLOAD_BYTES_MAX
}
