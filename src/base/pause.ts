import type { Clock } from './clock.ts'

/**
 * Resolves after `delayMs`, or as soon as the signal is aborted. Holds the process, unless nobody waits for what
 * comes of it.
 */
export function pause(
  clock: Clock,
  delayMs: number,
  signal?: AbortSignal,
  isHolding = true,
): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve()
  return new Promise((resolve) => {
    const finish = (): void => {
      cancel()
      signal?.removeEventListener('abort', finish)
      resolve()
    }
    const cancel = clock.startTimer(delayMs, finish, isHolding)
    signal?.addEventListener('abort', finish, { once: true })
  })
}
