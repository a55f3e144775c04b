import type { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { ERROR_CODES } from '../base/error-codes.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import type { CallOptions, RpcChannel } from '../rpc/channel.ts'
import { StreamBridge } from '../tunnel/stream-bridge.ts'

/** What a forward has carried, in bytes: from the service, and to it. */
export interface Forwarded {
  readonly bytesIn: number
  readonly bytesOut: number
}

/** The same, with a code unless all went well. */
export interface ForwardEnd extends Forwarded {
  readonly code: PosternError['code'] | undefined
}

/** Resolves to what a forward has carried. @throws PosternError with the code that it ended with */
export async function settled(ending: Promise<ForwardEnd>): Promise<Forwarded> {
  const { code, bytesIn, bytesOut } = await ending
  if (code === undefined) return { bytesIn, bytesOut }
  throw new PosternError(code, `the forward has ended: ${ERROR_CODES[code].meaning}`)
}

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
): Promise<ForwardEnd> {
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
      resolve({ code, bytesIn: bridge.bytesIn, bytesOut: bridge.bytesOut })
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
      const { code } = asPosternError(error)
      resolve({ code, bytesIn: 0, bytesOut: 0 })
    }
  })
}
