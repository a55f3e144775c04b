import { noteText } from './seen.ts'
import { ByteBudget } from '../../src/base/byte-budget.ts'
import type { PosternError } from '../../src/base/errors.ts'
import { DEFAULT_MUX_LIMITS, type MuxLimits } from '../../src/mux/limits.ts'
import { MuxSession } from '../../src/mux/session.ts'
import type { MuxStream } from '../../src/mux/stream.ts'
import type { GoAway } from '../../src/wire/goaway.ts'
import { RecordingSink } from './recording-sink.ts'

export interface OpenedStream {
  readonly stream: MuxStream
  readonly head: Buffer
  readonly isEnded: boolean
}

/** One side of a pair, with what its owner was told. */
export class MuxSide {
  readonly budget: ByteBudget
  readonly session: MuxSession
  readonly opened: OpenedStream[] = []
  readonly goAways: GoAway[] = []
  drainedCount = 0
  isReady = false
  closed: PosternError | undefined
  /** Answers streams that the peer opens; by default they are only kept in `opened`. */
  onOpen: ((opened: OpenedStream) => void) | undefined

  constructor(role: 'dialer' | 'acceptor', limits: Partial<MuxLimits> = {}, budgetBytes = 1 << 30) {
    this.budget = new ByteBudget(budgetBytes)
    this.session = new MuxSession({
      role,
      limits: { ...DEFAULT_MUX_LIMITS, ...limits },
      budget: this.budget,
      nowMs: 0,
      owner: {
        onOutput: () => undefined,
        onEvent: (event) => {
          if (event.name === 'ready') this.isReady = true
          else if (event.name === 'go-away') this.goAways.push(event.goAway)
          else if (event.name === 'drained') this.drainedCount++
          else if (event.name === 'closed') {
            noteText(event.error.code)
            this.closed = event.error
          }
        },
      },
      streams: {
        open: ({ stream, bytes, start, end, isEnded }) => {
          const opened = { stream, head: Buffer.from(bytes.subarray(start, end)), isEnded }
          this.opened.push(opened)
          this.onOpen?.(opened)
        },
      },
    })
    this.session.start()
  }

  take(bytesMax = 1 << 20): Buffer {
    const slab = Buffer.alloc(bytesMax)
    return slab.subarray(0, this.session.takeOutput(slab))
  }

  /** Opens a stream whose head and body are `head`. */
  open(
    head: string,
    options: { isEnded?: boolean; wantsData?: boolean; sink?: RecordingSink } = {},
  ): { stream: MuxStream; sink: RecordingSink } {
    const { isEnded = false, wantsData = true, sink = new RecordingSink() } = options
    const stream = this.session.beginOpen(sink, isEnded, wantsData)
    this.session.writer.bytes(Buffer.from(head))
    this.session.endOpen()
    return { stream, sink }
  }
}

/** Answers with a trailer that holds `text`. */
export function answer(stream: MuxStream, text: string): void {
  const writer = stream.beginTrailer()
  writer.bytes(Buffer.from(text))
  stream.endTrailer(writer)
}

/** Two sessions joined without a network. */
export class MuxPair {
  readonly dialer: MuxSide
  readonly acceptor: MuxSide
  nowMs = 0

  /** `isPumped`: both have said hello already. */
  constructor(limits: Partial<MuxLimits> = {}, budgetBytes?: number, isPumped = true) {
    this.dialer = new MuxSide('dialer', limits, budgetBytes)
    this.acceptor = new MuxSide('acceptor', limits, budgetBytes)
    if (isPumped) this.pump()
  }

  /** Moves bytes both ways until none are left. */
  pump(): void {
    for (;;) {
      const up = this.dialer.take()
      const down = this.acceptor.take()
      if (up.length === 0 && down.length === 0) return
      if (up.length > 0) this.acceptor.session.receive(up, this.nowMs)
      if (down.length > 0) this.dialer.session.receive(down, this.nowMs)
    }
  }

  /** Moves what is there now, once, each way. */
  step(): void {
    const up = this.dialer.take()
    const down = this.acceptor.take()
    if (up.length > 0) this.acceptor.session.receive(up, this.nowMs)
    if (down.length > 0) this.dialer.session.receive(down, this.nowMs)
  }
}
