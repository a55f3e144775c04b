import type { Clock } from '../base/clock.ts'
import type { CallOptions } from '../rpc/channel.ts'
import { rpcErrorOfCode } from '../rpc/status.ts'

/**
 * Waits for what a call needs before it can begin, no longer than the call itself may take. What is waited for goes on, as others
 * may wait for it. @throws RpcError CANCELLED, DEADLINE_EXCEEDED, which say that nothing was started
 */
export async function withinCall<T>(
  needed: Promise<T>,
  { timeoutMs = 0, signal }: CallOptions,
  clock: Clock,
): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const giveUp = (): void => {
    reject(rpcErrorOfCode('CANCELLED', 'the call was cancelled before it began', true))
  }
  if (signal?.aborted === true) giveUp()
  signal?.addEventListener('abort', giveUp, { once: true })
  const late = (): void => {
    const text = 'no sealed session was there before the deadline'
    reject(rpcErrorOfCode('DEADLINE_EXCEEDED', text, true))
  }
  const cancel = timeoutMs > 0 ? clock.startTimer(timeoutMs, late, true) : undefined
  try {
    return await Promise.race([needed, promise])
  } finally {
    cancel?.()
    signal?.removeEventListener('abort', giveUp)
    // Nobody waits for it any more.
    needed.catch(() => undefined)
  }
}
