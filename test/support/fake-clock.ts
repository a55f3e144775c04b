import type { CancelTimer, Clock } from '../../src/base/clock.ts'

interface Timer {
  readonly atMs: number
  onFire(): void
}

/** Time that moves only when told to. `soon` tasks run when time advances, even by nothing. */
export class FakeClock implements Clock {
  #nowMs = 0
  /** In the order of firing. */
  readonly #timers: Timer[] = []
  #soon: (() => void)[] = []
  wallOffsetMs: number

  constructor(wallOffsetMs = Date.UTC(2026, 0, 1)) {
    this.wallOffsetMs = wallOffsetMs
  }

  nowMs = (): number => this.#nowMs

  /** Of work that tests say was done. */
  busyMs = (): number => this.workedMs
  workedMs = 0

  wallMs = (): number => this.wallOffsetMs + this.#nowMs

  get timerCount(): number {
    return this.#timers.length
  }

  startTimer(delayMs: number, onFire: () => void): CancelTimer {
    const timer = { atMs: this.#nowMs + delayMs, onFire }
    let low = 0
    let high = this.#timers.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#timers[middle]?.atMs ?? 0) <= timer.atMs) low = middle + 1
      else high = middle
    }
    this.#timers.splice(low, 0, timer)
    return () => {
      const index = this.#timers.indexOf(timer)
      if (index !== -1) this.#timers.splice(index, 1)
    }
  }

  soon(task: () => void): void {
    this.#soon.push(task)
  }

  /** Runs what is due now; returns whether there was anything. */
  runSoon(): boolean {
    const tasks = this.#soon
    this.#soon = []
    for (const task of tasks) task()
    return tasks.length > 0
  }

  /** When the next timer is due, or undefined. */
  get nextAtMs(): number | undefined {
    return this.#timers[0]?.atMs
  }

  /** Fires what falls due, in order, timers started by timers included. */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs
    while (this.runSoon());
    for (;;) {
      const next = this.#timers[0]
      if (next === undefined || next.atMs > endMs) break
      this.#timers.shift()
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.onFire()
      while (this.runSoon());
    }
    this.#nowMs = endMs
    while (this.runSoon());
  }
}
