import type { Clock } from '../../base/clock.ts'
import type { ByteBudget } from '../../base/byte-budget.ts'
import type { CallKind } from '../../contract/call-guard.ts'
import type { CallChannel } from '../../rpc/typed.ts'
import type { RpcError } from '../../rpc/status.ts'
import type { ApiExchange } from '../../transport/api-exchange.ts'

/** A call whose caller is known and whose head was judged. */
export interface ApiCall {
  readonly exchange: ApiExchange
  /** "package.Service/Method". */
  readonly method: string
  readonly kind: Exclude<CallKind, 'forward'>
  /** To the cluster that is called, in the caller's name. */
  readonly channel: CallChannel
  /** Of the caller: what is gathered for it is reserved here. */
  readonly budget: ByteBudget
  readonly messageBytesMax: number
  readonly clock: Pick<Clock, 'nowMs' | 'startTimer'>
  /** Aborted when the client goes, and when its token ends. */
  readonly signal: AbortSignal
  /** Why a call failed, as its caller is told: the end of its token comes before what that caused. */
  failureOf(error: unknown): RpcError
  /** Makes protobuf of JSON, and JSON of protobuf. @throws RpcError UNIMPLEMENTED where the method's description is not known */
  readonly codec: () => Promise<JsonCodec>
}

/** Messages of one method, between protobuf and its JSON. Throws RpcError INVALID_ARGUMENT for what is none. */
export interface JsonCodec {
  request(json: Buffer): Buffer
  response(message: Buffer): Buffer
}

/** One of the protocols that callers speak over HTTP. */
export interface ApiProtocol {
  /** Serves a call to its end; never rejects. */
  serve(call: ApiCall): Promise<void>
  /** Answers what is not begun. */
  refuse(exchange: ApiExchange, error: RpcError): void
}
