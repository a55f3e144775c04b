import type { DescFile, DescService } from '@bufbuild/protobuf'
import type { FileDescriptorSet } from '@bufbuild/protobuf/wkt'
import { PosternError } from '../../base/errors.ts'
import type { DataType } from '../../contract/data-type.ts'
import type { Offer } from '../../rpc/service.ts'
import { methodName, offersOf, type Implementation } from '../../rpc/typed.ts'
import { describedMethods, judgeMethod } from './vendor-methods.ts'

/** A service whose handlers run in the agent's own process, ready to be offered. */
export interface EmbeddedService {
  readonly name: string
  readonly offers: readonly Offer[]
  /** The file that describes it, and all that it imports. */
  readonly files: FileDescriptorSet['file']
}

/**
 * Makes an offer of each method of a service: the data that it moves is what its description declares, or what `dataTypes` says, by
 * "package.Service/Method". @throws CONFIG_INVALID where a method declares nothing, or what it must not
 */
export function embeddedService<S extends DescService>(
  service: S,
  implementation: Implementation<S>,
  dataTypes: Readonly<Record<string, DataType>> = {},
): EmbeddedService {
  const name = service.typeName
  const methods = describedMethods(service, dataTypes)
  for (const method of methods) judgeMethod(method, name)
  const functions = implementation as Readonly<Record<string, unknown>>
  const missing = service.methods.find(
    ({ localName }) => typeof functions[localName] !== 'function',
  )
  if (missing !== undefined)
    throw new PosternError(
      'CONFIG_INVALID',
      `service ${name}: there is no handler ${missing.localName}`,
    )
  const data = new Map(methods.map((method) => [method.name, method.data]))
  const offers = offersOf(service, implementation, (method) => data.get(methodName(method)))
  return { name, offers, files: [...filesOf(service.file)] }
}

function filesOf(file: DescFile, found = new Set<DescFile['proto']>()): Set<DescFile['proto']> {
  for (const one of file.dependencies) filesOf(one, found)
  return found.add(file.proto)
}
