import type { Clock } from '../base/clock.ts'
import { DeadlineWheel, type Deadlined } from '../base/deadline-wheel.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import type { Tracer } from '../base/tracing.ts'
import { Making } from './making.ts'
import { STATUS_NAMES } from './status.ts'

const TICK_MS = 8

/** The limits of calls, for every connection of a process. */
export interface RpcLimits {
  /** Largest message in either direction, in bytes. Crossed: RESOURCE_EXHAUSTED. */
  readonly messageBytesMax: number
}

/** What all channels and servers of a process share: time, chance, deadlines, counters. */
export class RpcRuntime {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly limits: RpcLimits
  /** Where spans go, where somebody wants them. */
  readonly tracer: Tracer | undefined
  /** Room for messages that handlers are asked for. */
  readonly making: Making
  /** Calls served and calls made, by status number. */
  readonly served: number[] = new Array<number>(STATUS_NAMES.length).fill(0)
  readonly made: number[] = new Array<number>(STATUS_NAMES.length).fill(0)
  readonly #wheel = new DeadlineWheel()
  #isArmed = false

  constructor(
    parts: Pick<RpcRuntime, 'clock' | 'random' | 'logger' | 'limits'> & {
      readonly tracer?: Tracer | undefined
    },
  ) {
    this.tracer = parts.tracer
    this.clock = parts.clock
    this.random = parts.random
    this.logger = parts.logger
    this.limits = parts.limits
    this.making = new Making(parts.clock)
  }

  watchDeadline(entry: Deadlined): void {
    this.#wheel.add(entry, this.clock.nowMs())
    this.#arm()
  }

  forgetDeadline(entry: Deadlined): void {
    this.#wheel.remove(entry)
  }

  readonly #tick = (): void => {
    this.#isArmed = false
    this.#wheel.advance(this.clock.nowMs())
    if (this.#wheel.size > 0) this.#arm()
  }

  #arm(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    this.clock.startTimer(TICK_MS, this.#tick)
  }
}
