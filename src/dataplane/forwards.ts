import type { Duplex } from 'node:stream'
import type { CancelTimer, Clock } from '../base/clock.ts'
import type { LogLimiter } from '../base/log-limiter.ts'
import { PosternError, type ErrorCode } from '../base/errors.ts'
import type { Address } from '../base/address.ts'
import type { Logger } from '../base/logger.ts'
import type { MuxStream } from '../mux/stream.ts'
import { callerText } from '../contract/caller.ts'
import type { CallContext } from '../rpc/call-context.ts'
import type { Offer } from '../rpc/service.ts'
import { dialTarget } from '../transport/tcp-dial.ts'
import { StreamBridge } from '../tunnel/stream-bridge.ts'
import { plainData, type DataType } from '../contract/data-type.ts'

/** A named target of the customer's: callers know the name, never the address. */
export interface ForwardService {
  readonly name: string
  readonly target: Address
  readonly dataType: DataType
}

/** The values and collaborators that `forwardOffer` is given. */
export interface ForwardPorts {
  readonly clock: Clock
  readonly logger: Logger
  /** For what callers can provoke at any rate. */
  readonly log: LogLimiter
  /** Longest time to connect to the target, in ms. */
  readonly dialTimeoutMs: number
}

/** A service's forwards: each stream becomes one connection to the target. */
export function forwardOffer(service: ForwardService, parts: ForwardPorts): Offer {
  return {
    name: service.name,
    data: plainData(service.dataType),
    handler: {
      kind: 'forward',
      handle: (stream, context) => forward(service, parts, stream, context),
    },
  }
}

async function forward(
  service: ForwardService,
  parts: ForwardPorts,
  stream: MuxStream,
  context: CallContext,
): Promise<void> {
  const { clock, logger } = parts
  const facts = { service: service.name, caller: callerText(context.caller) }
  let socket: Duplex
  try {
    socket = await dial(service, parts, stream)
  } catch (error) {
    if (!(error instanceof PosternError)) throw error
    if (stream.isClosed) return
    parts.log.warn(
      error.code,
      { ...facts, code: error.code, reason: error.rawMessage },
      'forward failed',
    )
    stream.refuse(error.code, error.recovery === 'retry', error.rawMessage)
    return
  }
  let cancelDeadline: CancelTimer | undefined
  await new Promise<void>((resolve) => {
    const onClosed = (code: ErrorCode | undefined): void => {
      const { bytesIn, bytesOut } = bridge
      logger.debug({ ...facts, code, bytesIn, bytesOut }, 'forward ended')
      resolve()
    }
    const bridge = new StreamBridge(socket, clock, onClosed, undefined, context.permit)
    const { deadlineAtMs } = context
    if (deadlineAtMs !== undefined) {
      cancelDeadline = clock.startTimer(Math.max(0, deadlineAtMs - clock.nowMs()), () => {
        bridge.abort('DEADLINE_EXCEEDED')
      })
    }
    try {
      stream.accept(bridge)
      bridge.attach(stream)
    } catch (error) {
      socket.destroy()
      if (!(error instanceof PosternError)) throw error
    }
  })
  cancelDeadline?.()
}

/** Connects to the target for as long as the caller waits. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE */
async function dial(
  service: ForwardService,
  { clock, dialTimeoutMs }: ForwardPorts,
  stream: MuxStream,
): Promise<Duplex> {
  const abort = new AbortController()
  const giveUp = (): void => {
    abort.abort()
  }
  const cancelTimer = clock.startTimer(dialTimeoutMs, giveUp)
  stream.whenClosed(giveUp)
  try {
    const socket = await dialTarget(service.target, abort.signal)
    if (!stream.isClosed) return socket
    socket.destroy()
    throw new PosternError('TARGET_UNREACHABLE', 'the caller has gone')
  } finally {
    cancelTimer()
  }
}
