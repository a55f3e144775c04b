import type { CancelTimer, Clock } from './clock.ts'

/** Runs `act` again and again, each time after `intervalMs()`, until it is cancelled. The next time is armed before it acts. */
export function every(clock: Clock, intervalMs: () => number, act: () => void): CancelTimer {
  let cancel: CancelTimer
  const arm = (): void => {
    cancel = clock.startTimer(intervalMs(), () => {
      arm()
      act()
    })
  }
  arm()
  return () => {
    cancel()
  }
}
