import type { LogLine } from '../log-lines.ts'
import type { LogStep } from '../log-source.ts'

/** A caller who lets lines be dropped is never further behind than this. */
const BEHIND_BYTES_MAX = 1024 * 1024

type Lines = Extract<LogStep, { readonly kind: 'lines' }>

/**
 * Reads a log ahead of its caller, and lets go of the oldest lines, counted, where the caller is too slow. What fails is thrown behind
 * the lines that came before it.
 */
export async function* dropBehind(
  steps: AsyncIterable<LogStep>,
  bytesMax = BEHIND_BYTES_MAX,
): AsyncGenerator<LogStep, void> {
  const held = new Held(bytesMax)
  const reading = read(steps, held)
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

async function read(steps: AsyncIterable<LogStep>, held: Held): Promise<void> {
  try {
    for await (const step of steps) {
      if (held.isGiven) return
      held.put(step)
      // A source that has all in memory would never let the caller have a turn.
      await Promise.resolve()
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
  #droppedCursor = ''
  #wake: (() => void) | undefined
  hasEnded = false
  isGiven = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  put(step: LogStep): void {
    this.#steps.push(step)
    this.#bytes += bytesOf(step)
    while (this.#bytes > this.#bytesMax && this.#steps.length > 1) this.#drop()
    this.#wake?.()
  }

  #drop(): void {
    const step = this.#steps.shift()
    if (step === undefined) return
    const bytes = bytesOf(step)
    this.#bytes -= bytes
    this.#dropped += step.kind === 'lines' ? bytes : step.bytes
    this.#droppedCursor = step.kind === 'lines' ? step.cursorBehind(step.lines.length) : step.cursor
  }

  take(): LogStep | undefined {
    if (this.#dropped > 0) {
      const step: LogStep = { kind: 'dropped', bytes: this.#dropped, cursor: this.#droppedCursor }
      this.#dropped = 0
      return step
    }
    const step = this.#steps.shift()
    if (step !== undefined) this.#bytes -= bytesOf(step)
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

function bytesOf(step: LogStep): number {
  return step.kind === 'lines' ? linesBytes(step.lines) : 0
}

function linesBytes(lines: Lines['lines']): number {
  return lines.reduce((sum: number, { bytes }: LogLine) => sum + bytes, 0)
}
