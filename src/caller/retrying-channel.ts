import { backoffMs } from '../tunnel/backoff.ts'
import type { Clock } from '../base/clock.ts'
import { pause } from '../base/pause.ts'
import type { Random } from '../base/random.ts'
import { ERROR_CODES } from '../base/error-codes.ts'
import type { CallOptions } from '../rpc/channel.ts'
import type { CallChannel } from '../rpc/typed.ts'
import { asRpcError, RpcError, rpcErrorOfCode } from '../rpc/status.ts'

/** How long a call without a deadline of its own is offered again. */
const RETRY_MS = 10_000
const PAUSE = { minMs: 10, maxMs: 500 }

/** One of several ways to the same cluster. */
export interface Way {
  readonly channel: CallChannel
}

/** The values and collaborators that `RetryingChannel` is given. */
export interface RetryingPorts {
  readonly clock: Clock
  readonly random: Random
  /** A way that is open and was not tried; undefined: there is none now. */
  readonly next: (tried: ReadonlySet<Way>) => Way | undefined
  /** Aborted when no call may be made any more: those that wait for a way end then. */
  readonly closed: AbortSignal
}

/**
 * Calls over whichever way is open. A call that was certainly not started is offered again, on another
 * way first, until its deadline; any other failure is for the caller to judge. Requests that are a
 * stream are read once, so such a call is not offered again.
 */
export class RetryingChannel implements CallChannel {
  readonly #ports: RetryingPorts

  constructor(ports: RetryingPorts) {
    this.#ports = ports
  }

  async unary(method: string, request: Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    return await this.#offer(options, (channel, left) => channel.unary(method, request, left))
  }

  async *serverStream(
    method: string,
    request: Uint8Array,
    options: CallOptions = {},
  ): AsyncGenerator<Buffer, void, undefined> {
    const open = async (
      channel: CallChannel,
      left: CallOptions,
    ): Promise<readonly [AsyncIterator<Buffer>, IteratorResult<Buffer>]> => {
      const responses = channel.serverStream(method, request, left)[Symbol.asyncIterator]()
      return [responses, await responses.next()]
    }
    const [responses, first] = await this.#offer(options, open)
    try {
      for (let result = first; result.done !== true; result = await responses.next())
        yield result.value
    } finally {
      await responses.return?.()
    }
  }

  async clientStream(
    method: string,
    requests: AsyncIterable<Uint8Array>,
    options: CallOptions = {},
  ): Promise<Buffer> {
    return await this.#open().clientStream(method, requests, options)
  }

  async *bidi(
    method: string,
    requests: AsyncIterable<Uint8Array>,
    options: CallOptions = {},
  ): AsyncGenerator<Buffer, void, undefined> {
    yield* this.#open().bidi(method, requests, options)
  }

  #open(): CallChannel {
    const way = this.#ports.next(new Set())
    if (way === undefined) throw noWay()
    return way.channel
  }

  async #offer<T>(
    options: CallOptions,
    call: (channel: CallChannel, left: CallOptions) => Promise<T>,
  ): Promise<T> {
    const { clock, next, closed } = this.#ports
    // 0 is no deadline.
    const { timeoutMs = 0 } = options
    const endAtMs = clock.nowMs() + (timeoutMs > 0 ? timeoutMs : RETRY_MS)
    const tried = new Set<Way>()
    let lastError: RpcError = noWay()
    for (let attempt = 0; ;) {
      const way = next(tried)
      if (way !== undefined) {
        tried.add(way)
        const left = { ...options }
        if (timeoutMs > 0) Object.assign(left, { timeoutMs: Math.max(1, endAtMs - clock.nowMs()) })
        try {
          return await call(way.channel, left)
        } catch (error) {
          lastError = asRpcError(error)
          // Whatever the closing connection says of it: it ended because its caller has finished.
          if (closed.aborted) throw finished(lastError.notStarted)
          if (!mayBeOffered(lastError)) throw error
        }
      } else {
        tried.clear()
        await this.#pause(attempt++, options.signal)
      }
      if (closed.aborted) throw finished(true)
      if (options.signal?.aborted === true) throw rpcErrorOfCode('CANCELLED', '', true)
      if (clock.nowMs() >= endAtMs) throw lastError
    }
  }

  #pause(attempt: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock, random } = this.#ports
    const { closed } = this.#ports
    const both = signal === undefined ? closed : AbortSignal.any([signal, closed])
    return pause(clock, PAUSE.minMs + backoffMs(attempt, PAUSE, random), both)
  }
}

function finished(notStarted: boolean): RpcError {
  return rpcErrorOfCode('SHUTDOWN', 'the caller has finished', notStarted)
}

function noWay(): RpcError {
  return rpcErrorOfCode('CONNECTION_LOST', 'no gateway is connected', true)
}

/** Not started, and for a reason that may pass or lie with the one who was asked. */
function mayBeOffered({ notStarted, code }: RpcError): boolean {
  return notStarted && code !== undefined && ERROR_CODES[code].recovery === 'retry'
}
