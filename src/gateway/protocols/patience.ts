import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asRpcError, rpcErrorOfCode, type RpcError } from '../../rpc/status.ts'

/** How long a request that is one message may take to come where its client sets no time, in ms. */
const REQUEST_MS_MAX = 120_000

/** What a call is bounded by. */
export interface PatiencePorts {
  readonly clock: Pick<Clock, 'nowMs' | 'startTimer'>
  /** Aborted when the client goes, and when its token ends. */
  readonly signal: AbortSignal
}

/** The time that a call has, from its head on: what is read of its request does not outlast it. */
export class Patience {
  readonly #endAtMs: number | undefined
  readonly #signal: AbortSignal
  #failure: RpcError | undefined
  /** Whoever waits for the next message: one at a time. */
  #waiting: ((failure: RpcError) => void) | undefined
  readonly #cancel: CancelTimer
  readonly #onAbort = (): void => {
    this.#fail(rpcErrorOfCode('CANCELLED', ''))
  }
  /** The request is whole: how long its answer takes is bounded elsewhere. */
  isOver = false

  constructor({ clock, signal }: PatiencePorts, timeoutMs: number | undefined) {
    this.#endAtMs = timeoutMs === undefined ? undefined : clock.nowMs() + timeoutMs
    this.#signal = signal
    this.#cancel = clock.startTimer(timeoutMs ?? REQUEST_MS_MAX, () => {
      if (timeoutMs !== undefined || !this.isOver)
        this.#fail(rpcErrorOfCode('DEADLINE_EXCEEDED', ''))
    })
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#onAbort()
  }

  /** What is left of the time, in ms; undefined: nothing bounds it. */
  leftMs(nowMs: number): number | undefined {
    return this.#endAtMs === undefined ? undefined : Math.max(1, this.#endAtMs - nowMs)
  }

  /** Messages as they come, until the time is over. @throws RpcError DEADLINE_EXCEEDED, CANCELLED */
  async *bound(source: AsyncGenerator<Buffer, undefined>): AsyncGenerator<Buffer, undefined> {
    try {
      for (;;) {
        const next = await this.#next(source)
        if (next.done === true) return
        yield next.value
      }
    } finally {
      // It may wait for a client that says nothing: it ends with the exchange.
      source.return(undefined).catch(() => undefined)
    }
  }

  /** No race: what waits for the end of the call would grow with each message. */
  #next(source: AsyncGenerator<Buffer, undefined>): Promise<IteratorResult<Buffer, undefined>> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure)
        return
      }
      this.#waiting = reject
      source.next().then(
        (next) => {
          this.#waiting = undefined
          resolve(next)
        },
        (error: unknown) => {
          this.#waiting = undefined
          reject(asRpcError(error))
        },
      )
    })
  }

  #fail(failure: RpcError): void {
    this.#failure ??= failure
    this.#waiting?.(this.#failure)
    this.#waiting = undefined
  }

  end(): void {
    this.#cancel()
    this.#signal.removeEventListener('abort', this.#onAbort)
  }
}
