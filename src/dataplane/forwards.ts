import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { Address } from '../config/address.ts'
import type { Logger } from '../base/logger.ts'
import type { MuxStream } from '../mux/stream.ts'
import type { CallContext } from '../rpc/call-context.ts'
import type { Offer } from '../rpc/service.ts'
import { dialTarget } from '../transport/tcp-dial.ts'
import { StreamBridge } from '../tunnel/stream-bridge.ts'
import type { DataType } from '../wire/data-type.ts'

/** A named target of the customer's: callers know the name, never the address. */
export interface ForwardService {
  readonly name: string
  readonly target: Address
  readonly dataType: DataType
}

export interface ForwardParts {
  readonly clock: Clock
  readonly logger: Logger
  /** Longest time to connect to the target, in ms. */
  readonly dialTimeoutMs: number
}

/** A service's forwards: each stream becomes one connection to the target. */
export function forwardOffer(service: ForwardService, parts: ForwardParts): Offer {
  return {
    name: service.name,
    dataType: service.dataType,
    handler: {
      kind: 'forward',
      handle: (stream, context) => forward(service, parts, stream, context),
    },
  }
}

async function forward(
  service: ForwardService,
  { clock, logger, dialTimeoutMs }: ForwardParts,
  stream: MuxStream,
  context: CallContext,
): Promise<void> {
  const facts = { service: service.name, caller: context.caller }
  const abort = new AbortController()
  const cancelTimer = clock.startTimer(dialTimeoutMs, () => {
    abort.abort()
  })
  try {
    const socket = await dialTarget(service.target, abort.signal)
    await new Promise<void>((resolve) => {
      const bridge = new StreamBridge(socket, clock, (code) => {
        logger.debug(
          { ...facts, code, bytesIn: bridge.bytesIn, bytesOut: bridge.bytesOut },
          'forward ended',
        )
        resolve()
      })
      if (stream.isClosed) {
        socket.destroy()
        return
      }
      try {
        stream.accept(bridge)
        bridge.attach(stream)
      } catch {
        socket.destroy()
      }
    })
  } catch (error) {
    if (!(error instanceof PosternError)) throw error
    logger.warn({ ...facts, code: error.code, reason: error.rawMessage }, 'forward failed')
    stream.refuse(error.code, error.recovery === 'retry', error.rawMessage)
  } finally {
    cancelTimer()
  }
}
