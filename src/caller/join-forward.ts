import type { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { CallOptions, RpcChannel } from '../rpc/channel.ts'
import { StreamBridge } from '../tunnel/stream-bridge.ts'

/** The channel that a forward is opened on, and the time that it goes by. */
export interface ForwardWay {
  readonly channel: RpcChannel
  readonly clock: Clock
}

/**
 * Joins a local connection to a named service until either side ends. Resolves with a code unless all went well. Where
 * `mayRetry` takes the code of a refusal, the local connection is left as it was.
 */
export function joinForward(
  { channel, clock }: ForwardWay,
  service: string,
  socket: Duplex,
  options: CallOptions,
  mayRetry?: (code: PosternError['code']) => boolean,
): Promise<PosternError['code'] | undefined> {
  const { signal, timeoutMs = 0 } = options
  return new Promise((resolve) => {
    const onAbort = (): void => {
      bridge.abort('CANCELLED')
    }
    const cancelDeadline =
      timeoutMs === 0
        ? undefined
        : clock.startTimer(timeoutMs, () => {
            bridge.abort('DEADLINE_EXCEEDED')
          })
    const finish = (code: PosternError['code'] | undefined): void => {
      cancelDeadline?.()
      signal?.removeEventListener('abort', onAbort)
      resolve(code)
    }
    const isLeft = (code: PosternError['code']): boolean => {
      if (mayRetry?.(code) !== true) return false
      finish(code)
      return true
    }
    const bridge = new StreamBridge(
      socket,
      clock,
      finish,
      mayRetry === undefined ? undefined : isLeft,
    )
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      bridge.attach(channel.forward(service, bridge, options))
    } catch (error) {
      cancelDeadline?.()
      socket.destroy()
      resolve(error instanceof PosternError ? error.code : 'INTERNAL')
    }
  })
}
