import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
import type { LogLine } from '../log-lines.ts'
import type { LogStep } from '../log-source.ts'

/** A caller who lets lines be dropped is never further behind than this. */
const BEHIND_BYTES_MAX = 1024 * 1024
/** What an object of a line takes beside its text. */
const LINE_BYTES = 128
/** What nobody takes is read no faster than this. */
const DROPPED_PER_SECOND = 8 * 1024 * 1024

/** How far a slow caller may be behind, by which clock. */
export interface BehindOptions {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Default 1 MiB. */
  readonly bytesMax?: number
}

/**
 * Reads a log ahead of its caller, and lets go of the oldest lines, counted, where the caller is too slow. What fails is thrown behind
 * the lines that came before it.
 */
export async function* dropBehind(
  steps: AsyncIterable<LogStep>,
  { clock, signal, bytesMax = BEHIND_BYTES_MAX }: BehindOptions,
): AsyncGenerator<LogStep, void> {
  const held = new Held(bytesMax)
  const reading = read(steps, held, clock, signal)
  // A caller that has gone hears of nothing more.
  reading.catch(() => undefined)
  try {
    for (;;) {
      const step = held.take()
      if (step !== undefined) yield step
      else if (held.hasEnded) break
      else await held.changed()
    }
    await reading
  } finally {
    held.isGiven = true
  }
}

async function read(
  steps: AsyncIterable<LogStep>,
  held: Held,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const step of steps) {
      if (held.isGiven) return
      const dropped = held.put(step)
      // A source that has all in memory would never let the caller have a turn.
      await pause(clock, (1000 * dropped) / DROPPED_PER_SECOND, signal)
    }
  } finally {
    held.end()
  }
}

/** Steps that wait for the caller. */
class Held {
  readonly #bytesMax: number
  readonly #steps: LogStep[] = []
  #bytes = 0
  #dropped = 0
  #isGap = false
  #cursor = ''
  #wake: (() => void) | undefined
  hasEnded = false
  isGiven = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Returns how many bytes were let go for it. */
  put(step: LogStep): number {
    this.#steps.push(step)
    this.#bytes += costOf(step)
    const before = this.#dropped
    while (this.#bytes > this.#bytesMax && this.#steps.length > 1) this.#drop()
    this.#wake?.()
    return this.#dropped - before
  }

  #drop(): void {
    const step = this.#steps.shift()
    if (step === undefined) return
    this.#bytes -= costOf(step)
    if (step.kind === 'gap') this.#isGap = true
    this.#dropped += step.kind === 'lines' ? bytesOf(step.lines) : step.bytes
    this.#cursor = step.kind === 'lines' ? step.cursorBehind(step.lines.length) : step.cursor
  }

  take(): LogStep | undefined {
    if (this.#dropped > 0 || this.#isGap) {
      const kind = this.#dropped > 0 ? 'dropped' : 'gap'
      const step: LogStep = { kind, bytes: this.#dropped, cursor: this.#cursor }
      this.#dropped = 0
      this.#isGap = false
      return step
    }
    const step = this.#steps.shift()
    if (step !== undefined) this.#bytes -= costOf(step)
    return step
  }

  end(): void {
    this.hasEnded = true
    this.#wake?.()
  }

  async changed(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#wake = undefined
  }
}

function costOf(step: LogStep): number {
  return step.kind === 'lines' ? bytesOf(step.lines) + LINE_BYTES * step.lines.length : LINE_BYTES
}

function bytesOf(lines: readonly LogLine[]): number {
  return lines.reduce((sum, { bytes }) => sum + bytes, 0)
}
