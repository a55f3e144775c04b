import assert from 'node:assert/strict'
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
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import { PosternError } from '../base/errors.ts'
import type { CallKind, FieldRules } from '../contract/call-guard.ts'
import { dataTypeOfNumber, type CallData } from '../contract/data-type.ts'
import type { CallContext } from './call-context.ts'
import type { CallOptions } from './channel.ts'
import { judgeFields } from './judge-fields.ts'
import { methodData } from './method-data.ts'
import { encodePadded } from './padding.ts'
import type { MethodHandler, Offer } from './service.ts'
import { RpcError, rpcErrorOfCode, statusOfCode } from './status.ts'

/** What a handler answers with, at once or later. */
export type HandlerAnswer<O extends DescMessage> =
  Promise<MessageInitShape<O>> | MessageInitShape<O>

/** One function per method of a service. `C`: what each is told of a call. */
export type HandlersWith<S extends DescService, C> = {
  [M in keyof S['method']]: S['method'][M] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, context: C) => HandlerAnswer<O>
    : S['method'][M] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: C) => AsyncIterable<MessageInitShape<O>>
      : S['method'][M] extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, context: C) => Promise<MessageInitShape<O>>
        : S['method'][M] extends DescMethodBiDiStreaming<infer I, infer O>
          ? (
              requests: AsyncIterable<MessageShape<I>>,
              context: C,
            ) => AsyncIterable<MessageInitShape<O>>
          : never
}

/** What a service's implementation provides. */
export type Implementation<S extends DescService> = HandlersWith<S, CallContext>

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

const KINDS: Readonly<Record<DescMethod['methodKind'], Exclude<CallKind, 'forward'>>> = {
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
export function methodKind(method: DescMethod): Exclude<CallKind, 'forward'> {
  return KINDS[method.methodKind]
}

/**
 * Returns the methods of a service, ready to be offered by an RpcServer, each with the data that its description declares.
 * @throws CONFIG_INVALID where one declares none
 */
export function offersOf<S extends DescService>(
  service: S,
  implementation: Implementation<S>,
  dataOf: (method: DescMethod) => CallData | undefined = methodData,
): Offer[] {
  const functions = implementation as unknown as Record<string, AnyFunction>
  return service.methods.map((method) => {
    const data = dataOf(method) ?? methodData(method)
    const handler = handlerOf(method, data, functions[method.localName] as AnyFunction)
    return { name: methodName(method), data, handler }
  })
}

// The descriptor decides at run time what the mapped types above say at compile time.
type AnyFunction = (request: unknown, context: CallContext) => unknown

function handlerOf(
  method: DescMethod,
  { aboutField }: CallData,
  implementation: AnyFunction,
): MethodHandler {
  const read = (bytes: Uint8Array, context: CallContext): unknown =>
    readRequest(method.input, aboutField, bytes, context)
  const write = (message: unknown, { permit }: CallContext): Uint8Array =>
    writeAnswer(method.output, message, permit.fields)
  switch (methodKind(method)) {
    case 'unary':
      return {
        kind: 'unary',
        handle: async (request, context) =>
          write(await implementation(read(request, context), context), context),
      }
    case 'clientStream':
      return {
        kind: 'clientStream',
        handle: async (requests, context) => {
          const messages = mapAsync(requests, (bytes) => read(bytes, context))
          return write(await implementation(messages, context), context)
        },
      }
    case 'serverStream':
      return {
        kind: 'serverStream',
        handle: (request, context) =>
          mapAsync(
            implementation(read(request, context), context) as AsyncIterable<unknown>,
            (message) => write(message, context),
          ),
      }
    case 'bidi':
      return {
        kind: 'bidi',
        handle: (requests, context) => {
          const messages = mapAsync(requests, (bytes) => read(bytes, context))
          const answers = implementation(messages, context) as AsyncIterable<unknown>
          return mapAsync(answers, (message) => write(message, context))
        },
      }
  }
}

/** Messages of a method that is served elsewhere: passed on as they are, or made again of what was judged. */
export interface PassThrough {
  /** @throws RpcError MALFORMED_CALL, MESSAGE_TOO_LARGE, and what the guard says of what it is about */
  request(bytes: Uint8Array, context: CallContext): Uint8Array
  response(bytes: Uint8Array, context: CallContext): Uint8Array
}

/** Makes the way through for messages of a described method. */
export function passThrough(method: DescMethod, { aboutField }: CallData): PassThrough {
  return {
    request: (bytes, context) => {
      const rules = context.permit.fields
      if (rules === undefined && aboutField === undefined) return bytes
      const message = readRequest(method.input, aboutField, bytes, context) as Message
      return toBinary(method.input, message, { writeUnknownFields: rules === undefined })
    },
    response: (bytes, { permit: { fields: rules } }) => {
      if (rules === undefined) return bytes
      const message = decodeMessage(method.output, bytes, rules)
      return toBinary(method.output, message, { writeUnknownFields: false })
    },
  }
}

/** Decodes a request as far as its permit lets it be, and has the guard decide on what it says that it is about. */
function readRequest(
  schema: DescMessage,
  aboutField: string | undefined,
  bytes: Uint8Array,
  { permit }: CallContext,
): unknown {
  const message = decodeMessage(schema, bytes, permit.fields)
  if (aboutField === undefined) return message
  const field = schema.fields.find(({ name }) => name === aboutField)
  const number = field && (message as unknown as Record<string, unknown>)[field.localName]
  const type = typeof number === 'number' ? dataTypeOfNumber(number) : undefined
  if (type === undefined) throw rpcErrorOfCode('MALFORMED_CALL', `${aboutField} names no data type`)
  const denial = permit.about(type)
  if (denial !== undefined) throw rpcErrorOfCode(denial.code, denial.text)
  return message
}

function writeAnswer(
  schema: DescMessage,
  answer: unknown,
  rules: FieldRules | undefined,
): Uint8Array {
  const message = create(schema, answer as MessageInitShape<typeof schema>)
  if (rules !== undefined && rules.bytesMax !== Infinity) judgeFields(schema, message, rules)
  return toBinary(schema, message, { writeUnknownFields: rules === undefined })
}

/** Where calls go: one session, or whichever of several is open. */
export interface CallChannel {
  /** One request, one response. @throws RpcError */
  unary(method: string, request: Uint8Array, options?: CallOptions): Promise<Buffer>
  /** One request, many responses. @throws RpcError */
  serverStream(method: string, request: Uint8Array, options?: CallOptions): AsyncIterable<Buffer>
  /** Many requests, one response. @throws RpcError */
  clientStream(
    method: string,
    requests: AsyncIterable<Uint8Array>,
    options?: CallOptions,
  ): Promise<Buffer>
  /** Many requests, many responses. @throws RpcError */
  bidi(
    method: string,
    requests: AsyncIterable<Uint8Array>,
    options?: CallOptions,
  ): AsyncIterable<Buffer>
}

/** Makes a typed client of a service over a channel. */
export function clientOf<S extends DescService>(service: S, channel: CallChannel): Client<S> {
  const entries = service.methods.map(
    (method) => [method.localName, callerOf(method, channel)] as const,
  )
  return Object.fromEntries(entries) as unknown as Client<S>
}

/** A channel for calls with one answer. */
export type UnaryChannel = Pick<CallChannel, 'unary'>

/** Makes a typed client of a service whose methods all have one request and one answer. */
export function unaryClientOf<S extends DescService>(service: S, channel: UnaryChannel): Client<S> {
  const entries = service.methods.map((method) => {
    assert.equal(methodKind(method), 'unary', `${methodName(method)} is no unary method`)
    return [method.localName, unaryCallerOf(method, channel)] as const
  })
  return Object.fromEntries(entries) as unknown as Client<S>
}

function unaryCallerOf(
  method: DescMethod,
  channel: UnaryChannel,
): (request: unknown, options?: CallOptions) => Promise<unknown> {
  const name = methodName(method)
  return async (request, options) =>
    decodeMessage(
      method.output,
      await channel.unary(name, encodeMessage(method.input, request), options),
    )
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
      return unaryCallerOf(method, channel)
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
  return encodePadded(schema, create(schema, message as MessageInitShape<typeof schema>))
}

function decodeMessage(schema: DescMessage, bytes: Uint8Array, rules?: FieldRules): Message {
  let message: Message
  try {
    message = fromBinary(schema, bytes, { readUnknownFields: rules?.unknown !== 'strip' })
  } catch (error) {
    throw undecodable(schema.typeName, error)
  }
  const isJudged = rules?.unknown === 'refuse' || (rules?.bytesMax ?? Infinity) !== Infinity
  if (rules !== undefined && isJudged) judgeFields(schema, message, rules)
  return message
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
