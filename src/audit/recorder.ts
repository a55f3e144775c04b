import type { DataType } from '../contract/data-type.ts'
import type { Clock } from '../base/clock.ts'
import { every } from '../base/every.ts'
import { callerText } from '../contract/caller.ts'
import type { Decided, Ended, GuardEvent, Recorder } from '../guard/recorder.ts'
import { LineWriter } from './line.ts'
import type { RecordWriter } from './writer.ts'

const REPEAT_MS = 60_000
const HOUR_MS = 3_600_000
/** Kinds of refusal that are told apart in one minute; the others are counted together. */
const KINDS_MAX = 1000
const TEXT_MAX = 500

interface Repeated {
  decided: Decided
  count: number
}

interface Sum {
  calls: number
  refused: number
  in: number
  out: number
}

/**
 * Writes down what the guard decides. Refusals of one kind within a minute are one line and a count, so that no flood of
 * them pushes anything out; our own calls are summed up by the hour.
 */
export class AuditRecorder implements Recorder {
  readonly #writer: RecordWriter
  readonly #clock: Clock
  readonly #stopsWhenFull: boolean
  readonly #lines = new LineWriter()
  readonly #refusals = new Map<string, Repeated>()
  readonly #own = new Map<string, Sum>()
  #hour: number
  #streams = 0
  readonly #prefix: string
  #cancelTimer: (() => void) | undefined

  /** `run`: tells the streams of one run of the agent from those of another. */
  constructor(writer: RecordWriter, clock: Clock, run: string, stopsWhenFull: boolean) {
    this.#writer = writer
    this.#clock = clock
    this.#prefix = run
    this.#stopsWhenFull = stopsWhenFull
    this.#hour = this.#hourNow()
  }

  get mayGoOn(): boolean {
    return !this.#stopsWhenFull || this.#writer.isWritable
  }

  start(): void {
    this.#writer.start()
    this.#cancelTimer = every(
      this.#clock,
      () => REPEAT_MS,
      () => {
        this.#tellRepeated()
        if (this.#hourNow() !== this.#hour) this.#tellOwn()
      },
    )
  }

  stop(): void {
    this.#cancelTimer?.()
    this.#tellRepeated()
    this.#tellOwn()
    this.#writer.stop()
  }

  /** Writes what waits at once, for a reader that comes for it. */
  flush(): void {
    this.#writer.flush()
  }

  refused(decided: Decided): void {
    const { ask, denial } = decided
    const kind = `${callerText(ask.caller)} ${ask.kind} ${ask.name} ${denial?.code ?? ''} ${denial?.why ?? ''}`
    const key = this.#refusals.has(kind) || this.#refusals.size < KINDS_MAX ? kind : ''
    const known = this.#refusals.get(key)
    if (known === undefined) {
      this.#refusals.set(key, { decided, count: 0 })
      this.#writer.add(this.#lines.refused(decided, undefined))
    } else {
      known.count++
      known.decided = decided
    }
  }

  called(decided: Decided, ended: Ended): void {
    this.#writer.addParts(this.#lines.called(decided, ended))
  }

  opened(decided: Decided): string {
    const stream = `${this.#prefix}-${String(++this.#streams)}`
    this.#writer.add(this.#lines.opened(decided, stream))
    return stream
  }

  closed(stream: string, ended: Ended): void {
    this.#writer.add(this.#lines.closed(stream, ended))
  }

  own(
    name: string,
    bytesIn: number,
    bytesOut: number,
    isAllowed: boolean,
    type: DataType = 'own',
  ): void {
    const key = this.#own.has(name) || this.#own.size < KINDS_MAX ? name : 'others'
    const typed = type === 'own' || key !== name ? {} : { type }
    const sum = this.#own.get(key) ?? { ...typed, calls: 0, refused: 0, in: 0, out: 0 }
    this.#own.set(key, sum)
    if (isAllowed) sum.calls++
    else sum.refused++
    sum.in += bytesIn
    sum.out += bytesOut
  }

  event({ kind, text, gateway }: GuardEvent): void {
    const facts = { event: kind, text: text.slice(0, TEXT_MAX), ...(gateway && { gateway }) }
    this.#writer.add(this.#lines.other(this.#clock.wallMs(), facts))
  }

  #tellRepeated(): void {
    for (const { decided, count } of this.#refusals.values())
      if (count > 0) this.#writer.add(this.#lines.refused(decided, count))
    this.#refusals.clear()
  }

  #tellOwn(): void {
    const hour = new Date(this.#hour * HOUR_MS).toISOString()
    for (const [own, sum] of this.#own)
      this.#writer.add(this.#lines.other(this.#clock.wallMs(), { own, hour, ...sum }))
    this.#own.clear()
    this.#hour = this.#hourNow()
  }

  #hourNow(): number {
    return Math.floor(this.#clock.wallMs() / HOUR_MS)
  }
}
