import {
  fromBinary,
  fromJsonString,
  toBinary,
  toJsonString,
  type DescMessage,
  type DescMethod,
  type Registry,
} from '@bufbuild/protobuf'
import { RpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import { splitMethodName } from '../../rpc/typed.ts'
import { jsonSize } from './json-size.ts'
import type { JsonCodec } from '../protocols/protocols.ts'

/** How much larger the JSON of a message may be than a message. */
const JSON_FACTOR = 4

/** Finds the description of a method; undefined where a registry has none. */
export function describedMethod(registry: Registry, name: string): DescMethod | undefined {
  const { service, method } = splitMethodName(name)
  return registry.getService(service)?.methods.find((one) => one.name === method)
}

/** Makes the codec of a method from its description, and from those of the messages that it may hold. */
export function jsonCodec(
  { input, output }: DescMethod,
  registry: Registry,
  messageBytesMax: number,
): JsonCodec {
  return {
    request: (json) => requestOf(input, json, registry),
    response: (message) => responseOf(output, message, registry, messageBytesMax * JSON_FACTOR),
  }
}

function requestOf(schema: DescMessage, json: Buffer, registry: Registry): Buffer {
  try {
    const text = json.length === 0 ? '{}' : json.toString()
    return Buffer.from(toBinary(schema, fromJsonString(schema, text, { registry })))
  } catch {
    // What the library says may repeat what the caller sent.
    throw new RpcError('INVALID_ARGUMENT', `it is no ${schema.typeName} in protobuf's JSON`)
  }
}

function responseOf(
  schema: DescMessage,
  bytes: Buffer,
  registry: Registry,
  bytesMax: number,
): Buffer {
  try {
    const message = fromBinary(schema, bytes)
    if (jsonSize(schema, message, bytesMax) <= bytesMax)
      return Buffer.from(toJsonString(schema, message, { registry }))
  } catch {
    // Nor is what the agent has said told in words of the library's.
    throw new RpcError('INTERNAL', `the answer is no ${schema.typeName}, or has no JSON`)
  }
  throw rpcErrorOfCode('MESSAGE_TOO_LARGE', `its JSON may exceed ${String(bytesMax)} bytes`)
}

/** Makes the error of a method that is known by name alone. */
export function notDescribed(name: string): RpcError {
  return new RpcError(
    'UNIMPLEMENTED',
    `${name} has no description here: JSON needs one, protobuf does not`,
  )
}
