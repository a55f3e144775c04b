import type { ByteBudget } from '../base/byte-budget.ts'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { MuxLimits } from '../mux/limits.ts'
import type { SessionOwner, StreamHandler } from '../mux/session-owner.ts'
import { MuxSession } from '../mux/session.ts'
import { SLAB_BYTES, type SlabPool } from './slab-pool.ts'

/** Bytes handed to the wire and not yet taken by it. More would make a ping wait behind them. */
const IN_FLIGHT_BYTES_MAX = 256 * 1024
/** Output below this is copied out of the slab, so that the slab is free again at once. */
const COPY_BYTES_MAX = 16 * 1024
/** How long the last frames may take to leave when a session ends. */
const FAREWELL_MS = 2000

/** An authenticated byte stream: a TLS socket, or a fake one in tests. */
export interface Wire {
  /** Calls `onWritten` once the bytes have left this process. */
  write(bytes: Uint8Array, onWritten: () => void): void
  /** Sends what is written, then closes. */
  end(): void
  destroy(): void
}

/** The values and collaborators that Connection is given. */
export interface ConnectionPorts {
  readonly role: 'dialer' | 'acceptor'
  readonly wire: Wire
  readonly limits: MuxLimits
  readonly budget: ByteBudget
  readonly clock: Clock
  readonly slabs: SlabPool
  readonly streams: StreamHandler
}

/** The owner of a connection: hears of the events of its session. */
export type ConnectionOwner = Pick<SessionOwner, 'onEvent'>

/** Drives one session over one wire: batches its output, keeps its timers, watches for a stalled write. */
export class Connection {
  readonly session: MuxSession
  readonly #ports: ConnectionPorts
  #inFlightBytes = 0
  #reservedBytes = 0
  #progressAtMs: number
  #cancelTimer: CancelTimer | undefined
  #cancelFarewell: CancelTimer | undefined
  #isFlushScheduled = false
  #isClosing = false
  #isGone = false

  /** @throws BUDGET_EXHAUSTED */
  constructor(ports: ConnectionPorts, owner: ConnectionOwner) {
    this.#ports = ports
    const nowMs = ports.clock.nowMs()
    this.#progressAtMs = nowMs
    const { role, limits, budget, streams } = ports
    const onOutput = (): void => {
      this.#scheduleFlush()
    }
    this.session = new MuxSession({
      role,
      limits,
      budget,
      nowMs,
      streams,
      owner: {
        onOutput,
        onEvent: (event) => {
          if (event.name === 'closed') this.#close()
          owner.onEvent(event)
          if (event.name === 'ready') this.#armTimer()
        },
      },
    })
  }

  /** Says hello. */
  start(): void {
    this.session.start()
    this.#armTimer()
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes
  }

  /** Bytes came from the wire. */
  receive(chunk: Buffer): void {
    this.session.receive(chunk, this.#ports.clock.nowMs())
  }

  /** The wire is closed. */
  wireClosed(error: PosternError): void {
    if (!this.#isGone) this.#ports.budget.release(this.#reservedBytes)
    this.#isGone = true
    this.#cancelTimer?.()
    this.#cancelFarewell?.()
    this.session.lose(error)
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled || this.#isGone) return
    this.#isFlushScheduled = true
    this.#ports.clock.soon(this.#flush)
  }

  readonly #flush = (): void => {
    this.#isFlushScheduled = false
    while (!this.#isGone && this.#writeBatch());
    if (this.#isClosing && !this.session.hasOutput) this.#ports.wire.end()
  }

  #writeBatch(): boolean {
    const { slabs, wire, clock, budget } = this.#ports
    // One batch goes in any case; more of them, to a peer that may not read, are in the budget.
    const reserved = this.#inFlightBytes === 0 ? 0 : SLAB_BYTES
    if (this.#inFlightBytes >= IN_FLIGHT_BYTES_MAX || !budget.reserve(reserved)) return false
    const slab = slabs.take()
    const count = this.session.takeOutput(slab)
    if (count === 0) {
      slabs.give(slab)
      budget.release(reserved)
      return false
    }
    this.#reservedBytes += reserved
    if (this.#inFlightBytes === 0) this.#progressAtMs = clock.nowMs()
    this.#inFlightBytes += count
    if (count <= COPY_BYTES_MAX) {
      const copy = Buffer.from(slab.subarray(0, count))
      slabs.give(slab)
      wire.write(copy, () => {
        this.#written(count, reserved)
      })
    } else {
      wire.write(slab.subarray(0, count), () => {
        slabs.give(slab)
        this.#written(count, reserved)
      })
    }
    return true
  }

  #written(count: number, reserved: number): void {
    this.#inFlightBytes -= count
    if (this.#isGone) return
    this.#reservedBytes -= reserved
    this.#ports.budget.release(reserved)
    this.#progressAtMs = this.#ports.clock.nowMs()
    if (this.session.isAwake) this.#scheduleFlush()
  }

  /** One timer, armed for what comes first; it looks again rather than being moved at each byte. */
  #armTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (this.#isGone) return
    const nowMs = this.#ports.clock.nowMs()
    const delayMs = Math.max(1, this.session.nextTimeoutMs - nowMs)
    if (delayMs === Number.POSITIVE_INFINITY) return
    this.#cancelTimer = this.#ports.clock.startTimer(delayMs, this.#onTimer)
  }

  readonly #onTimer = (): void => {
    const nowMs = this.#ports.clock.nowMs()
    const { silenceMs } = this.#ports.limits
    if (this.#inFlightBytes > 0 && nowMs - this.#progressAtMs >= silenceMs) {
      const seconds = String(Math.round(silenceMs / 1000))
      this.session.close(
        new PosternError('WRITE_STALLED', `the peer accepted no bytes for ${seconds} s`),
      )
      return
    }
    this.session.handleTimeout(nowMs)
    this.#armTimer()
  }

  /** Lets the reason leave, but does not wait for a peer that takes nothing. */
  #close(): void {
    this.#cancelTimer?.()
    if (this.#isGone || this.#isClosing) return
    this.#isClosing = true
    this.#scheduleFlush()
    this.#cancelFarewell = this.#ports.clock.startTimer(FAREWELL_MS, () => {
      this.#ports.wire.destroy()
    })
  }
}
