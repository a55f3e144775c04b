import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import { PosternError } from '../base/errors.ts'
import type { DataType } from '../wire/data-type.ts'
import type { CallContext } from './call-context.ts'
import type { CallOptions, RpcChannel } from './channel.ts'
import type { KindName, MethodHandler, Offer } from './service.ts'
import { RpcError, statusOfCode } from './status.ts'

type Out<O extends DescMessage> = Promise<MessageInitShape<O>> | MessageInitShape<O>

/** What a service's implementation provides: one function per method. */
export type Implementation<S extends DescService> = {
  [M in keyof S['method']]: S['method'][M] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, context: CallContext) => Out<O>
    : S['method'][M] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
      : S['method'][M] extends DescMethodClientStreaming<infer I, infer O>
        ? (
            requests: AsyncIterable<MessageShape<I>>,
            context: CallContext,
          ) => Promise<MessageInitShape<O>>
        : S['method'][M] extends DescMethodBiDiStreaming<infer I, infer O>
          ? (
              requests: AsyncIterable<MessageShape<I>>,
              context: CallContext,
            ) => AsyncIterable<MessageInitShape<O>>
          : never
}

/** A typed client of a service. */
export type Client<S extends DescService> = {
  [M in keyof S['method']]: S['method'][M] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : S['method'][M] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : S['method'][M] extends DescMethodClientStreaming<infer I, infer O>
        ? (
            requests: AsyncIterable<MessageInitShape<I>>,
            options?: CallOptions,
          ) => Promise<MessageShape<O>>
        : S['method'][M] extends DescMethodBiDiStreaming<infer I, infer O>
          ? (
              requests: AsyncIterable<MessageInitShape<I>>,
              options?: CallOptions,
            ) => AsyncIterable<MessageShape<O>>
          : never
}

const KINDS: Readonly<Record<DescMethod['methodKind'], Exclude<KindName, 'forward'>>> = {
  unary: 'unary',
  server_streaming: 'serverStream',
  client_streaming: 'clientStream',
  bidi_streaming: 'bidi',
}

/** Returns "package.Service/Method" of a described method. */
export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`
}

/** Returns the kind of a described method. */
export function methodKind(method: DescMethod): Exclude<KindName, 'forward'> {
  return KINDS[method.methodKind]
}

/** The methods of a service, ready to be offered by an RpcServer. All carry one data type. */
export function offersOf<S extends DescService>(
  service: S,
  implementation: Implementation<S>,
  dataType: DataType,
): Offer[] {
  const functions = implementation as unknown as Record<string, AnyFunction>
  return service.methods.map((method) => {
    const handler = handlerOf(method, functions[method.localName] as AnyFunction)
    return { name: methodName(method), dataType, handler }
  })
}

// The descriptor decides at run time what the mapped types above say at compile time.
type AnyFunction = (request: unknown, context: CallContext) => unknown

function handlerOf(method: DescMethod, implementation: AnyFunction): MethodHandler {
  const { input, output } = method
  const decode = (bytes: Uint8Array): unknown => decodeMessage(input, bytes)
  const one = (message: unknown): Uint8Array => encodeMessage(output, message)
  switch (methodKind(method)) {
    case 'unary':
      return {
        kind: 'unary',
        handle: async (request, context) => one(await implementation(decode(request), context)),
      }
    case 'clientStream':
      return {
        kind: 'clientStream',
        handle: async (requests, context) =>
          one(await implementation(mapAsync(requests, decode), context)),
      }
    case 'serverStream':
      return {
        kind: 'serverStream',
        handle: (request, context) =>
          mapAsync(implementation(decode(request), context) as AsyncIterable<unknown>, one),
      }
    case 'bidi':
      return {
        kind: 'bidi',
        handle: (requests, context) =>
          mapAsync(
            implementation(mapAsync(requests, decode), context) as AsyncIterable<unknown>,
            one,
          ),
      }
  }
}

/** Where calls go: one session, or whichever of several is open. */
export type CallChannel = Pick<RpcChannel, 'unary' | 'serverStream' | 'clientStream' | 'bidi'>

/** Makes a typed client of a service over a channel. */
export function clientOf<S extends DescService>(service: S, channel: CallChannel): Client<S> {
  const entries = service.methods.map(
    (method) => [method.localName, callerOf(method, channel)] as const,
  )
  return Object.fromEntries(entries) as unknown as Client<S>
}

function callerOf(
  method: DescMethod,
  channel: CallChannel,
): (request: unknown, options?: CallOptions) => unknown {
  const name = methodName(method)
  const encode = (message: unknown): Uint8Array => encodeMessage(method.input, message)
  const decode = (bytes: Uint8Array): unknown => decodeMessage(method.output, bytes)
  switch (methodKind(method)) {
    case 'unary':
      return async (request, options) => decode(await channel.unary(name, encode(request), options))
    case 'serverStream':
      return (request, options) =>
        mapAsync(channel.serverStream(name, encode(request), options), decode)
    case 'clientStream':
      return async (requests, options) =>
        decode(
          await channel.clientStream(
            name,
            mapAsync(requests as AsyncIterable<unknown>, encode),
            options,
          ),
        )
    case 'bidi':
      return (requests, options) =>
        mapAsync(
          channel.bidi(name, mapAsync(requests as AsyncIterable<unknown>, encode), options),
          decode,
        )
  }
}

function encodeMessage(schema: DescMessage, message: unknown): Uint8Array {
  return toBinary(schema, create(schema, message as MessageInitShape<typeof schema>))
}

function decodeMessage(schema: DescMessage, bytes: Uint8Array): unknown {
  try {
    return fromBinary(schema, bytes)
  } catch (error) {
    throw undecodable(schema.typeName, error)
  }
}

/** Makes the error of a request (at its receiver) or response (at the caller) that cannot be decoded by its description. */
export function undecodable(typeName: string, cause: unknown): RpcError {
  const text = `MALFORMED_CALL: it is no ${typeName}`
  return new RpcError(statusOfCode('MALFORMED_CALL'), text, { code: 'MALFORMED_CALL', cause })
}

async function* mapAsync<T, U>(
  source: AsyncIterable<T>,
  map: (value: T) => U,
): AsyncGenerator<U, undefined> {
  for await (const value of source) yield map(value)
}

/**
 * Splits "package.Service/Method" in two.
 * @throws MALFORMED_CALL when the name is not of the form package.Service/Method
 */
export function splitMethodName(name: string): { service: string; method: string } {
  const [service = '', method = '', ...rest] = name.split('/')
  if (service === '' || method === '' || rest.length > 0) {
    throw new PosternError(
      'MALFORMED_CALL',
      `${JSON.stringify(name)} is not of the form package.Service/Method`,
    )
  }
  return { service, method }
}
