import type { CancelTimer, Clock } from './clock.ts'

/** setTimeout fires at once for a longer delay than this (2^31 - 1 ms), so longer ones are cut. */
const DELAY_MS_MAX = 2_147_483_647

/** The real clock of this machine: the one adapter over Node's timers. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  busyMs: () => performance.eventLoopUtilization().active,
  startTimer(delayMs: number, onFire: () => void, isHolding = false): CancelTimer {
    const timer = setTimeout(onFire, Math.min(delayMs, DELAY_MS_MAX))
    if (!isHolding) timer.unref()
    return () => {
      clearTimeout(timer)
    }
  },
  soon(task: () => void): void {
    setImmediate(task)
  },
}
