import type { CancelTimer, Clock } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/system-clock.ts'

/** Real time that counts the timers under way. */
export class CountedClock implements Clock {
  readonly #running = new Set<symbol>()

  nowMs = (): number => systemClock.nowMs()
  busyMs = (): number => systemClock.busyMs()

  wallMs = (): number => systemClock.wallMs()

  get timerCount(): number {
    return this.#running.size
  }

  startTimer(delayMs: number, onFire: () => void): CancelTimer {
    const key = Symbol()
    this.#running.add(key)
    const cancel = systemClock.startTimer(delayMs, () => {
      this.#running.delete(key)
      onFire()
    })
    return () => {
      this.#running.delete(key)
      cancel()
    }
  }

  soon(task: () => void): void {
    systemClock.soon(task)
  }
}
