import { create, fromBinary, toBinary, type DescFile, type FileRegistry } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import {
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
  type ServerReflectionRequest,
} from '../../gen/grpc/reflection/v1/reflection_pb.js'
import type { CallChannel } from '../../rpc/typed.ts'
import { RpcError, statusNumber } from '../../rpc/status.ts'

const NOT_FOUND = statusNumber('NOT_FOUND')
const UNIMPLEMENTED = statusNumber('UNIMPLEMENTED')

/** The methods by which tools ask: both versions have the same messages. */
export const REFLECTION_METHODS: readonly string[] = [
  'grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  'grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
]

/** What may be told to one caller: its services, and the files that describe them. */
export interface Reflected {
  readonly services: readonly string[]
  readonly registries: readonly FileRegistry[]
  /** Those that describe its services, and what these import, by name: of other services nothing is told. */
  readonly files: ReadonlyMap<string, DescFile>
}

/** Answers requests for descriptions, one by one (github.com/grpc/grpc, doc/server-reflection.md). @throws RpcError INVALID_ARGUMENT */
async function* reflect(
  requests: AsyncIterable<Uint8Array>,
  reflected: () => Promise<Reflected>,
): AsyncGenerator<Buffer, undefined> {
  const told = await reflected()
  for await (const bytes of requests) {
    let request: ServerReflectionRequest
    try {
      request = fromBinary(ServerReflectionRequestSchema, bytes)
    } catch {
      // What it says is the caller's, and goes into no text.
      throw new RpcError('INVALID_ARGUMENT', 'it is no request for reflection')
    }
    const messageResponse = answerTo(request, told)
    const answer = { validHost: request.host, originalRequest: request, messageResponse }
    const message = create(ServerReflectionResponseSchema, answer as never)
    yield Buffer.from(toBinary(ServerReflectionResponseSchema, message))
  }
}

/** A channel on which reflection is all that there is. `names`: methods that the caller may use. */
export function reflectionChannel(
  names: () => readonly string[],
  described: () => Promise<readonly FileRegistry[]>,
): CallChannel {
  const reflected = async (): Promise<Reflected> => {
    const all = names().map((name) => name.slice(0, name.indexOf('/')))
    const services = [...new Set(all)].sort()
    const registries = await described()
    const found = services.flatMap((name) =>
      registries.flatMap((one) => one.getService(name)?.file ?? []).slice(0, 1),
    )
    return { services, registries, files: withImports(found) }
  }
  const no = (): never => {
    throw new RpcError('UNIMPLEMENTED', 'reflection is a stream')
  }
  return {
    ...{ unary: no, serverStream: no, clientStream: no },
    bidi: (_method, requests) => reflect(requests, reflected),
  }
}

function answerTo({ messageRequest }: ServerReflectionRequest, told: Reflected): object {
  switch (messageRequest.case) {
    case 'listServices': {
      const service = told.services.map((name) => ({ name }))
      return { case: 'listServicesResponse', value: { service } }
    }
    case 'fileByFilename':
      return fileAnswer(fileNamed(messageRequest.value, told))
    case 'fileContainingSymbol':
      return fileAnswer(fileWith(messageRequest.value, told))
    default:
      return failure(UNIMPLEMENTED, 'extensions are not told of')
  }
}

function fileNamed(name: string, { files }: Reflected): DescFile | undefined {
  return files.get(name)
}

/** A symbol is a message, an enumeration, a service, or one of a service's methods. */
function fileWith(symbol: string, { registries, files }: Reflected): DescFile | undefined {
  const parent = symbol.slice(0, Math.max(0, symbol.lastIndexOf('.')))
  for (const registry of registries) {
    const found = registry.get(symbol) ?? registry.getService(parent)
    if (found !== undefined && files.get(found.file.proto.name) === found.file) return found.file
  }
  return undefined
}

/** With what it imports, so that a tool need not ask for each. */
function fileAnswer(file: DescFile | undefined): object {
  if (file === undefined) return failure(NOT_FOUND, 'nothing of that name is offered here')
  const fileDescriptorProto = [...withImports([file]).values()].map(encoded)
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } }
}

/** By name. */
function withImports(files: readonly DescFile[]): Map<string, DescFile> {
  const all = new Map<string, DescFile>()
  const add = (one: DescFile): void => {
    if (all.has(one.proto.name)) return
    all.set(one.proto.name, one)
    for (const dependency of one.dependencies) add(dependency)
  }
  for (const file of files) add(file)
  return all
}

const ENCODED = new WeakMap<DescFile, Uint8Array>()

function encoded(file: DescFile): Uint8Array {
  const known = ENCODED.get(file) ?? toBinary(FileDescriptorProtoSchema, file.proto)
  ENCODED.set(file, known)
  return known
}

function failure(errorCode: number, errorMessage: string): object {
  return { case: 'errorResponse', value: { errorCode, errorMessage } }
}
