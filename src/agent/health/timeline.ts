import type { Clock } from '../../base/clock.ts'
import { printable } from '../../base/errors.ts'

const EVENTS_MAX = 100
const TEXT_MAX = 300

/** The kinds of event on the timeline. */
export const EVENT_KINDS = [
  'started',
  'stopping',
  'tunnel-up',
  'tunnel-down',
  'health',
  'certificate',
  'service',
  'settings',
  'lockdown',
  'warning',
] as const
/** The kind of an event on the timeline. */
export type EventKind = (typeof EVENT_KINDS)[number]

/** Something that a person who asks what happened at 03:12 wants to know. */
export interface AgentEvent {
  readonly atMs: number
  readonly kind: EventKind
  readonly text: string
}

/** The last events, oldest first. */
export class Timeline {
  readonly #clock: Clock
  readonly #events: AgentEvent[] = []
  /** Grows with every event. */
  count = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get events(): readonly AgentEvent[] {
    return this.#events
  }

  /** The same words again, one after another, are one event: the first. */
  note(kind: EventKind, text: string): void {
    const last = this.#events.at(-1)
    const words = printable(text, TEXT_MAX)
    if (last?.kind === kind && last.text === words) return
    this.#events.push({ atMs: this.#clock.wallMs(), kind, text: words })
    if (this.#events.length > EVENTS_MAX) this.#events.shift()
    this.count++
  }

  /** What a run before this one has left, as it was read from disk. */
  restore(events: readonly unknown[]): void {
    const known = events.flatMap(readEvent).slice(-EVENTS_MAX)
    this.#events.unshift(...known)
    this.#events.splice(0, Math.max(0, this.#events.length - EVENTS_MAX))
  }
}

function readEvent(value: unknown): AgentEvent[] {
  if (typeof value !== 'object' || value === null) return []
  const { at, kind, text } = value as Readonly<Record<string, unknown>>
  const atMs = typeof at === 'string' ? Date.parse(at) : Number.NaN
  const known = EVENT_KINDS.find((one) => one === kind)
  if (Number.isNaN(atMs) || known === undefined || typeof text !== 'string') return []
  return [{ atMs, kind: known, text: printable(text, TEXT_MAX) }]
}
