import type { ErrorCode } from '../base/error-codes.ts'
import type { MuxStream } from '../mux/stream.ts'
import type { DataType } from '../wire/data-type.ts'
import type { Kind } from '../wire/open-head.ts'
import type { Caller } from './caller.ts'
import type { CallContext } from './call-context.ts'

type Bytes = Uint8Array

/** How one method is served. Thrown RpcErrors answer with their status; anything else with INTERNAL. */
export type MethodHandler =
  | { readonly kind: 'unary'; handle(request: Bytes, context: CallContext): Promise<Bytes> | Bytes }
  | {
      readonly kind: 'serverStream'
      handle(request: Bytes, context: CallContext): AsyncIterable<Bytes>
    }
  | {
      readonly kind: 'clientStream'
      handle(requests: AsyncIterable<Bytes>, context: CallContext): Promise<Bytes>
    }
  | {
      readonly kind: 'bidi'
      handle(requests: AsyncIterable<Bytes>, context: CallContext): AsyncIterable<Bytes>
    }

/**
 * Takes the byte stream of a forward: answers it by `accept` or `refuse`, and owns it from then on.
 */
export interface ForwardHandler {
  readonly kind: 'forward'
  /** Resolves when the stream has ended. */
  handle(stream: MuxStream, context: CallContext): Promise<void>
}

/** One method or service that a server offers. */
export interface Offer {
  readonly name: string
  readonly dataType: DataType
  readonly handler: MethodHandler | ForwardHandler
  /** Largest single request, in bytes, where it is less than rpc.messageBytesMax. */
  readonly requestBytesMax?: number
}

/** What the one decision point is asked, for every call and every forward. */
export interface AccessRequest {
  readonly caller: Caller
  readonly name: string
  /** A method call, or a forward to a named service. */
  readonly isForward: boolean
  /** What the caller declared, or undefined. */
  readonly dataType: DataType | undefined
  /** What the offer declares; undefined where nothing of that name is offered. */
  readonly offeredDataType: DataType | undefined
}

/** Decides on one call or forward: undefined allows it, a denial refuses it. */
export type Authorize = (request: AccessRequest) => Denial | undefined

/** The reason that a stream is refused by policy. */
export interface Denial {
  readonly code: ErrorCode
  readonly text: string
}

/** The name of a kind of method. */
export type KindName = 'unary' | 'serverStream' | 'clientStream' | 'bidi' | 'forward'

/** The numbers on the wire of the kinds of method. */
export const KIND_NUMBERS: Readonly<Record<KindName, Kind>> = {
  unary: 1,
  serverStream: 2,
  clientStream: 3,
  bidi: 4,
  forward: 5,
}
