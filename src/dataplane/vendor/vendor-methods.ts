import { hasOption, type DescMethod, type DescService } from '@bufbuild/protobuf'
import { PosternError } from '../../base/errors.ts'
import { plainData, type CallData, type DataType } from '../../contract/data-type.ts'
import { data as option } from '../../gen/postern/v1/data_pb.js'
import { CATALOG } from '../../guard/catalog.ts'
import { judgeOffer } from '../../guard/judge-offer.ts'
import { methodData } from '../../rpc/method-data.ts'
import { methodKind, methodName } from '../../rpc/typed.ts'
import { readDescriptors, type Descriptors } from './descriptors.ts'
import type { GrpcRow, MethodRow } from './grpc-row.ts'

/** Packages in which only Postern, and gRPC itself, name anything. */
const OURS = /^(?:postern|grpc)\./

/** A method of a server behind the agent, and what it moves. */
export interface VendorMethod {
  readonly name: string
  readonly kind: MethodRow['kind']
  readonly data: CallData
  /** Undefined: it is known by name alone. */
  readonly description: DescMethod | undefined
}

/** What a row offers: of every service with a method that declares its data, all methods; and those that the row names. */
export interface VendorMethods {
  readonly methods: readonly VendorMethod[]
  /** Undefined: the row has none. */
  readonly descriptors: Descriptors | undefined
}

/** Reads what a row offers. @throws CONFIG_INVALID where a method declares nothing, or what needs a description has none */
export function vendorMethods(row: GrpcRow): VendorMethods {
  const { descriptorsFile, methods: named, name } = row
  const descriptors = descriptorsFile === undefined ? undefined : readDescriptors(descriptorsFile)
  const rows = new Map(named.map((one) => [one.name, one]))
  const described = descriptors === undefined ? [] : servicesIn(descriptors, rows)
  const found = described.flatMap(({ methods }) =>
    methods.map((method) => describedMethod(method, rows.get(methodName(method))?.dataType)),
  )
  const known = new Set(found.map((one) => one.name))
  const bare = named.filter((one) => !known.has(one.name)).map(bareMethod)
  const all = [...found, ...bare]
  if (all.length === 0)
    throw new PosternError(
      'CONFIG_INVALID',
      `service ${name}: no method of its descriptors has the option (postern.v1.data), and the row names none`,
    )
  for (const method of all) judgeMethod(method, name)
  return { methods: all, descriptors }
}

/** Those that the vendor, or the row, says something of: a set holds others, too. */
function servicesIn(
  { registry }: Descriptors,
  rows: ReadonlyMap<string, MethodRow>,
): DescService[] {
  return [...registry]
    .filter((one) => one.kind === 'service')
    .filter(({ methods }) =>
      methods.some((method) => hasOption(method, option) || rows.has(methodName(method))),
    )
}

/** The methods of a described service, with the data that their descriptions declare, or that is said by name. @throws CONFIG_INVALID */
export function describedMethods(
  { methods }: DescService,
  dataTypes: Readonly<Record<string, DataType>>,
): VendorMethod[] {
  return methods.map((method) => describedMethod(method, dataTypes[methodName(method)]))
}

/** The customer's own word comes before that of the description. */
function describedMethod(method: DescMethod, said: DataType | undefined): VendorMethod {
  const data = said === undefined ? bounded(methodData(method)) : plainData(said)
  return { name: methodName(method), kind: methodKind(method), data, description: method }
}

/** What a vendor says of the size of messages may be less than the catalog allows, and never more. */
function bounded(data: CallData): CallData {
  const types = [data.carries, data.request, data.response]
  const most = Math.min(...types.map((type) => CATALOG[type].messageBytesMax ?? Infinity))
  const { messageBytesMax: said = most } = data
  const messageBytesMax = Math.min(said, most)
  return messageBytesMax === Infinity ? data : { ...data, messageBytesMax }
}

function bareMethod({ name, kind, dataType }: MethodRow): VendorMethod {
  return { name, kind, data: plainData(dataType), description: undefined }
}

/** Messages that hold metadata are bounded field by field, which takes their description. @throws CONFIG_INVALID */
export function judgeMethod({ name, data, description }: VendorMethod, service: string): void {
  if ([data.carries, data.request, data.response].includes('own'))
    throw new PosternError(
      'CONFIG_INVALID',
      `service ${service}: ${name} declares own, which is what Postern itself says`,
    )
  if (OURS.test(name))
    throw new PosternError(
      'CONFIG_INVALID',
      `service ${service}: ${name} is a name of Postern's own, or of gRPC's`,
    )
  judgeOffer(name, data)
  // What is demanded of messages goes by what the method carries: it may not be less for one direction.
  const rules = new Set(
    [data.carries, data.request, data.response].map((type) => CATALOG[type].rule),
  )
  if (rules.size > 1)
    throw new PosternError(
      'CONFIG_INVALID',
      `service ${service}: ${name} declares types of different rules for its requests and responses`,
    )
  const needs = [data.request, data.response].find((type) => CATALOG[type].rule === 'metadata')
  if (needs !== undefined && description === undefined)
    throw new PosternError(
      'CONFIG_INVALID',
      `service ${service}: ${name} carries ${needs}, which is judged field by field: it needs descriptors`,
    )
}
