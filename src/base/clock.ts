/** Ends a timer. Calling it after the timer fired, or twice, does nothing. */
export type CancelTimer = () => void

/** Time, injected. Timeouts use the monotonic side; only certificate validity uses the wall. */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary start, fractions allowed. */
  nowMs(): number
  /** Wall-clock milliseconds since the Unix epoch. */
  wallMs(): number
  /** Monotonic milliseconds that the event loop has been at work, waiting left out. */
  busyMs(): number
  /**
   * Runs `onFire` once after `delayMs`. The timer does not keep the process alive by itself, unless `isHolding`:
   * somebody waits for what it will do.
   */
  startTimer(delayMs: number, onFire: () => void, isHolding?: boolean): CancelTimer
  /** Runs `task` once after the I/O events that are already waiting: one batch per tick. */
  soon(task: () => void): void
}
