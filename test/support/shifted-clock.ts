import { systemClock } from '../../src/base/system-clock.ts'
import { CountedClock } from './counted-clock.ts'

/** Real time that can be put forward; timers run as they would. */
export class ShiftedClock extends CountedClock {
  #byMs = 0

  override nowMs = (): number => systemClock.nowMs() + this.#byMs
  override wallMs = (): number => systemClock.wallMs() + this.#byMs

  /** Puts both clocks forward. */
  shift(ms: number): void {
    this.#byMs += ms
  }
}
