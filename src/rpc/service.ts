import type { MuxStream } from '../mux/stream.ts'
import type { CallKind } from '../contract/call-guard.ts'
import type { CallData } from '../contract/data-type.ts'
import type { Kind } from '../wire/open-head.ts'
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
  readonly data: CallData
  readonly handler: MethodHandler | ForwardHandler
  /** Largest single request, in bytes, where it is less than rpc.messageBytesMax. */
  readonly requestBytesMax?: number
}

/** The numbers on the wire of the kinds of method. */
export const KIND_NUMBERS: Readonly<Record<CallKind, Kind>> = {
  unary: 1,
  serverStream: 2,
  clientStream: 3,
  bidi: 4,
  forward: 5,
}

/** The kinds of method by their number on the wire. */
export const KIND_NAMES: Readonly<Record<number, CallKind>> = Object.fromEntries(
  Object.entries(KIND_NUMBERS).map(([name, number]) => [number, name as CallKind]),
)
