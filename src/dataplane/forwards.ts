import { readFile } from 'node:fs/promises'
import { duplexPair, type Duplex } from 'node:stream'
import type { CancelTimer, Clock } from '../base/clock.ts'
import type { LogLimiter } from '../base/log-limiter.ts'
import { PosternError, type ErrorCode } from '../base/errors.ts'
import type { Address } from '../base/address.ts'
import type { Logger } from '../base/logger.ts'
import type { MuxStream } from '../mux/stream.ts'
import { callerText } from '../contract/caller.ts'
import type { CallContext } from '../rpc/call-context.ts'
import type { Offer } from '../rpc/service.ts'
import { once } from '../transport/edge.ts'
import { secureTarget } from '../transport/target-tls.ts'
import { dialTarget } from '../transport/tcp-dial.ts'
import { StreamBridge } from '../tunnel/stream-bridge.ts'
import { plainData, type DataType } from '../contract/data-type.ts'

/** A named target of the customer's: callers know the name, never the address. */
export interface ForwardService {
  readonly name: string
  readonly target: Address
  readonly dataType: DataType
  /** Of http and https each request is parsed, and judged by itself; to tls and https the agent speaks TLS. Default: tcp. */
  readonly protocol?: 'tcp' | 'tls' | 'http' | 'https'
  /** Roots of the target, in PEM, read anew for each connection. Default: those of the system. */
  readonly caFile?: string | undefined
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
  const local =
    service.protocol === 'http' || service.protocol === 'https'
      ? await httpSide(service, parts, socket, context, facts)
      : socket
  let cancelDeadline: CancelTimer | undefined
  await new Promise<void>((resolve) => {
    const onClosed = (code: ErrorCode | undefined): void => {
      const { bytesIn, bytesOut } = bridge
      logger.debug({ ...facts, code, bytesIn, bytesOut }, 'forward ended')
      resolve()
    }
    // Of HTTP, the permits of its requests count what crosses.
    const permit = local === socket ? context.permit : undefined
    const bridge = new StreamBridge(local, clock, onClosed, undefined, permit)
    context.permit.onWithdrawn = ({ code }) => {
      bridge.abort(code)
    }
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
      local.destroy()
      if (!(error instanceof PosternError)) throw error
    }
  })
  cancelDeadline?.()
}

/**
 * Returns a connection that requests may be written to: each is judged, and goes on to the target. Read where there is such a
 * service alone, as `node:http` is large.
 */
async function httpSide(
  service: ForwardService,
  { log, dialTimeoutMs, clock }: ForwardPorts,
  first: Duplex,
  { permit }: CallContext,
  facts: object,
): Promise<Duplex> {
  const { HttpGate } = await import('../transport/http-gate.ts')
  let dialled: Duplex | undefined = first
  const [near, far] = duplexPair()
  const gate = new HttpGate({
    judge: (ask) => permit.request(ask),
    dial: () => {
      const ready = dialled
      dialled = undefined
      if (ready !== undefined && !ready.destroyed) return Promise.resolve(ready)
      return dialWithin(service, clock, dialTimeoutMs)
    },
    onProblem: (code) => {
      log.warn(code, { ...facts, code }, 'a forward to an HTTP service failed')
    },
  })
  gate.take(far)
  once(near, 'close', () => {
    far.destroy()
    dialled?.destroy()
  })
  once(far, 'close', () => {
    near.destroy()
  })
  return near
}

async function dialWithin(
  service: ForwardService,
  clock: Clock,
  timeoutMs: number,
): Promise<Duplex> {
  const abort = new AbortController()
  const cancel = clock.startTimer(timeoutMs, () => {
    abort.abort()
  })
  try {
    return await connectTo(service, abort.signal)
  } finally {
    cancel()
  }
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
    const socket = await connectTo(service, abort.signal)
    if (!stream.isClosed) return socket
    socket.destroy()
    throw new PosternError('TARGET_UNREACHABLE', 'the caller has gone')
  } finally {
    cancelTimer()
  }
}

/** Connects, with TLS where the service says so. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE */
async function connectTo(service: ForwardService, signal: AbortSignal): Promise<Duplex> {
  const { target, protocol, caFile } = service
  const socket = await dialTarget(target, signal)
  if (protocol !== 'tls' && protocol !== 'https') return socket
  let caPem: string | undefined
  try {
    caPem = caFile === undefined ? undefined : await readFile(caFile, 'utf8')
  } catch (error) {
    socket.destroy()
    const { code = '' } = error as NodeJS.ErrnoException
    const text = `the roots of the target cannot be read (${code})`
    throw new PosternError('TARGET_UNREACHABLE', text, {}, { cause: error })
  }
  return await secureTarget(socket, target, caPem, signal)
}
