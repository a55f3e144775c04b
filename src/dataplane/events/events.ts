import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { EVENT_BYTES_MAX, eventFault } from '../../contract/run-event.ts'
import type { RunEvent } from '../../gen/postern/dataplane/v1/events_pb.js'
import { EntrySchema, type Entry } from '../../gen/postern/v1/runs_pb.js'
import { limitTexts, type TextRules } from './event-texts.ts'
import { Spill, type SpillPlace } from './spill.ts'

const STREAM_BYTES = 8
const EVENTS_MAX = 100

/** The values and collaborators that EventQueue is given. */
export interface EventQueuePorts {
  readonly clock: Pick<Clock, 'wallMs'>
  readonly random: Pick<Random, 'hex'>
  readonly rules: TextRules
  /** Bytes of events that are held in memory. */
  readonly bytesMax: number
  /** Undefined: nothing is written to disk, and what is held ends with the process. */
  readonly spill: SpillPlace | undefined
  /** Hears that there is something to hand on. */
  readonly onAdded: () => void
}

/** What a queue of events says of itself. */
export interface EventsReport {
  /** Events that wait in memory, and bytes of them. */
  readonly waiting: number
  readonly bytes: number
  /** Bytes on disk; undefined: nothing is written there. */
  readonly spilled: number | undefined
  readonly accepted: number
  readonly delivered: number
  /** That were refused because there was no more room. */
  readonly refused: number
  /** Segments on disk with a record that could not be read. */
  readonly damaged: number
}

interface Waiting {
  readonly entry: Entry
  readonly length: number
  readonly segment: number | undefined
}

/** Events in the order in which they came, until the control plane has them. */
export class EventQueue {
  readonly #ports: EventQueuePorts
  readonly #spill: Spill | undefined
  readonly #stream: string
  #number = 0n
  readonly #waiting: Waiting[] = []
  #bytes = 0
  /** Segments up to this are in memory; those behind it are on disk alone. */
  #loaded = 0
  #isAhead: boolean
  #accepted = 0
  #delivered = 0
  #refused = 0

  /** @throws STATE_UNWRITABLE, FILE_UNREADABLE */
  constructor(ports: EventQueuePorts) {
    this.#ports = ports
    this.#stream = ports.random.hex(STREAM_BYTES)
    const { spill } = ports
    this.#spill = spill && new Spill(spill, ports.random)
    this.#isAhead = this.#spill !== undefined
    this.#load()
  }

  /** Takes events, all of them or none. @throws EVENT_REFUSED, EVENTS_FULL */
  post(events: readonly RunEvent[]): void {
    if (events.length > EVENTS_MAX) throw refused(`at most ${String(EVENTS_MAX)} at once`)
    for (const event of events) {
      const fault = event.task === undefined ? eventFault(event) : 'only the agent tells of tasks'
      if (fault !== undefined) throw refused(fault)
    }
    this.#add(events)
  }

  /** An event of the agent's own. */
  tell(event: RunEvent): void {
    this.#add([event])
  }

  #add(events: readonly RunEvent[]): void {
    const { clock, rules, onAdded, bytesMax } = this.#ports
    const entries = events.map((event) => {
      event.at ??= timestampFromMs(clock.wallMs())
      limitTexts(event, rules)
      return create(EntrySchema, { stream: this.#stream, number: ++this.#number, event })
    })
    const records = entries.map((entry) => ({ entry, bytes: toBinary(EntrySchema, entry) }))
    const length = records.reduce((sum, { bytes }) => sum + bytes.length, 0)
    if (records.some(({ bytes }) => bytes.length > EVENT_BYTES_MAX))
      throw refused(`one has over ${String(EVENT_BYTES_MAX)} bytes`)
    const isRoom = this.#bytes + length <= bytesMax
    const isKept = this.#spill?.fits(records.length, length) ?? isRoom
    if (!isKept) throw this.#full(events.length)
    // What is on disk alone comes first: nothing overtakes it.
    if (!isRoom && !this.#isAhead) {
      this.#isAhead = true
      this.#spill?.cut()
    }
    for (const { entry, bytes } of records) {
      const segment = this.#spill?.append(bytes)
      if (!this.#isAhead) this.#hold({ entry, length: bytes.length, segment })
    }
    this.#accepted += events.length
    onAdded()
  }

  #full(count: number): Error {
    this.#refused += count
    const text = 'no more events can be kept until the control plane has taken some'
    return new PosternError('EVENTS_FULL', text)
  }

  #hold(waiting: Waiting): void {
    this.#waiting.push(waiting)
    this.#bytes += waiting.length
    this.#loaded = Math.max(this.#loaded, waiting.segment ?? 0)
  }

  /** The next events, in their order: at least one where there is one, and not many more bytes than these. */
  next(countMax: number, bytesMax: number): readonly Entry[] {
    if (this.#waiting.length === 0) this.#load()
    const entries: Entry[] = []
    let bytes = 0
    for (const { entry, length } of this.#waiting.slice(0, countMax)) {
      bytes += length
      if (entries.length > 0 && bytes > bytesMax) break
      entries.push(entry)
    }
    return entries
  }

  /** The control plane has so many of the next ones. */
  acknowledge(count: number): void {
    for (const { length } of this.#waiting.splice(0, count)) {
      this.#bytes -= length
      this.#delivered++
    }
    if (this.#waiting.length === 0) this.#load()
    const [first] = this.#waiting
    this.#spill?.dropBefore(first?.segment ?? this.#loaded + 1)
  }

  /** Reads segments of the disk until memory is half full, or there are no more. */
  #load(): void {
    while (this.#spill !== undefined && this.#isAhead && this.#bytes < this.#ports.bytesMax / 2) {
      this.#spill.cut()
      const found = this.#spill.readAfter(this.#loaded)
      this.#isAhead = found !== undefined
      if (found === undefined) return
      const { number: segment, records } = found
      this.#loaded = segment
      for (const bytes of records)
        this.#hold({ entry: fromBinary(EntrySchema, bytes), length: bytes.length, segment })
    }
  }

  report(): EventsReport {
    const spill = this.#spill
    return {
      ...{ waiting: this.#waiting.length, bytes: this.#bytes, spilled: spill?.bytes },
      ...{ accepted: this.#accepted, delivered: this.#delivered, refused: this.#refused },
      damaged: spill?.damaged ?? 0,
    }
  }
}

function refused(why: string): Error {
  return new PosternError('EVENT_REFUSED', `the event: ${why}`)
}

export { redactorOf } from './redactor.ts'
