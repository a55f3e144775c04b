import type { CancelTimer, Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { asRpcError, RpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import { tell } from '../../transport/edge.ts'
import type { ApiExchange } from '../../transport/api-exchange.ts'
import type { KnownCaller } from '../roles/roles.ts'

const TIMER_MS_MAX = 2 ** 31 - 1

/** A call that runs: ended with its client, its token, or the issuer of that. */
export class RunningCall {
  readonly exchange: ApiExchange
  who: KnownCaller | undefined
  readonly #ended = new AbortController()
  #cancelEnd: CancelTimer | undefined
  #failure: RpcError | undefined

  constructor(exchange: ApiExchange) {
    this.exchange = exchange
    exchange.onGone(() => {
      this.#ended.abort()
    })
  }

  get signal(): AbortSignal {
    return this.#ended.signal
  }

  /** It lasts no longer than the token that it came with. `endsAtMs`: in wall-clock ms; undefined: it came with none. */
  endAt(endsAtMs: number | undefined, clock: Clock): void {
    if (endsAtMs === undefined) return
    const leftMs = Math.min(TIMER_MS_MAX, Math.max(0, endsAtMs - clock.wallMs()))
    this.#cancelEnd = clock.startTimer(leftMs, () => {
      this.#endBy('the token of the caller has ended')
    })
  }

  /** Tokens of its issuer may be taken no more. */
  judgeIssuer(takes: (issuer: string) => boolean): void {
    const issuer = this.who?.issuer
    if (issuer !== undefined && !takes(issuer))
      this.#endBy('the issuer of the token is none of api.issuers')
  }

  /** Why it failed, as its caller is told: the end of its token comes before what that caused, and faults of ours are told elsewhere. */
  failureOf(error: unknown): RpcError {
    if (this.#failure !== undefined) return this.#failure
    if (error instanceof RpcError || error instanceof PosternError) return asRpcError(error)
    tell(error)
    return new RpcError('INTERNAL', 'INTERNAL: the gateway failed; its log says why')
  }

  /** It is over. */
  end(): void {
    this.#cancelEnd?.()
  }

  /** The gateway stops, and its caller is told so. */
  stop(): void {
    this.#endWith(rpcErrorOfCode('SHUTDOWN', 'the gateway is stopping'))
  }

  #endBy(text: string): void {
    this.#endWith(new RpcError('UNAUTHENTICATED', text))
  }

  #endWith(failure: RpcError): void {
    this.#failure ??= failure
    this.#ended.abort()
  }
}
