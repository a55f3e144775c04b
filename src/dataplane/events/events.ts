import { clone, create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { Clock } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { ENTRIES_MAX, eventFault, eventRefused, judgeEvent } from '../../contract/run-event.ts'
import { RunEventSchema, type RunEvent } from '../../gen/postern/dataplane/v1/events_pb.js'
import { TaskSchema } from '../../gen/postern/dataplane/v1/tasks_pb.js'
import { EntrySchema, type Entry } from '../../gen/postern/v1/runs_pb.js'
import { limitTexts, type TextRules } from './event-texts.ts'
import { Spill, type SpillPlace } from './spill.ts'

const STREAM_BYTES = 8

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
  /** That the control plane did not take, and does not take the next time either. */
  readonly dropped: number
  /** Segments on disk with a record that could not be read. */
  readonly damaged: number
}

interface Waiting {
  /** Entry, encoded: as objects events would take many times this. */
  readonly bytes: Uint8Array
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
  #dropped = 0

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
    if (events.length > ENTRIES_MAX) throw eventRefused(`at most ${String(ENTRIES_MAX)} at once`)
    for (const event of events) {
      const fault = event.task === undefined ? eventFault(event) : 'only the agent tells of tasks'
      if (fault !== undefined) throw eventRefused(fault)
      event.cut = false
    }
    this.#add(events)
  }

  /** An event of the agent's own. Of a task that is too long to tell, the name and image are. @throws EVENT_REFUSED, EVENTS_FULL */
  tell(event: RunEvent): void {
    try {
      this.#add([clone(RunEventSchema, event)])
    } catch (error) {
      const { code } = asPosternError(error)
      if (code !== 'EVENT_REFUSED' || event.task === undefined) throw error
      const { name, version, image } = event.task
      const task = create(TaskSchema, { name, version, image })
      this.#add([{ ...event, task, cut: true }])
    }
  }

  #add(events: readonly RunEvent[]): void {
    const { clock, rules, onAdded, bytesMax } = this.#ports
    for (const event of events) {
      event.at ??= timestampFromMs(clock.wallMs())
      limitTexts(event, rules)
      judgeEvent(event)
    }
    const records = events.map((event) => {
      const entry = create(EntrySchema, { stream: this.#stream, number: ++this.#number, event })
      return toBinary(EntrySchema, entry, { writeUnknownFields: false })
    })
    const length = records.reduce((sum, bytes) => sum + bytes.length, 0)
    const isRoom = this.#bytes + length <= bytesMax
    const isKept = this.#spill?.fits(records.length, length) ?? isRoom
    if (!isKept) throw this.#full(events.length)
    // What is on disk alone comes first: nothing overtakes it.
    if (!isRoom && !this.#isAhead) {
      this.#isAhead = true
      this.#spill?.cut()
    }
    const segment = this.#spill?.append(records)
    if (!this.#isAhead) for (const bytes of records) this.#hold({ bytes, segment })
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
    this.#bytes += waiting.bytes.length
    this.#loaded = Math.max(this.#loaded, waiting.segment ?? 0)
  }

  /** The next events, in their order: at least one where there is one, and not many more bytes than these. */
  next(countMax: number, bytesMax: number): readonly Entry[] {
    if (this.#waiting.length === 0) this.#load()
    const entries: Entry[] = []
    let sum = 0
    for (const { bytes } of this.#waiting.slice(0, countMax)) {
      sum += bytes.length
      if (entries.length > 0 && sum > bytesMax) break
      entries.push(fromBinary(EntrySchema, bytes))
    }
    return entries
  }

  /** The control plane has so many of the next ones. */
  acknowledge(count: number): void {
    this.#delivered += this.#remove(count)
  }

  /** The control plane does not take the next one, now or later: what waits behind it goes on. */
  drop(): void {
    this.#dropped += this.#remove(1)
  }

  #remove(count: number): number {
    const gone = this.#waiting.splice(0, count)
    for (const { bytes } of gone) this.#bytes -= bytes.length
    if (this.#waiting.length === 0) this.#load()
    this.#forget()
    return gone.length
  }

  /** Lets go of what the disk holds in front of the first that waits. */
  #forget(): void {
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
      for (const bytes of records) this.#hold({ bytes, segment })
      // Of what cannot be read nothing waits, and nothing comes back for it.
      if (this.#waiting.length === 0) this.#forget()
    }
  }

  report(): EventsReport {
    const spill = this.#spill
    return {
      ...{ waiting: this.#waiting.length, bytes: this.#bytes, spilled: spill?.bytes },
      ...{ accepted: this.#accepted, delivered: this.#delivered, refused: this.#refused },
      ...{ dropped: this.#dropped, damaged: spill?.damaged ?? 0 },
    }
  }
}

export { redactorOf } from './redactor.ts'
