import { parseAddress, type Address } from '../base/address.ts'
import { DATA_TYPE_NAMES, type DataType } from '../contract/data-type.ts'
import { crossingTypes, mayCross, neverText } from '../guard/catalog.ts'
import { isGrpcTarget, readGrpcService, type GrpcServiceRow } from './grpc-service-row.ts'
import { mayBePlain, isLoopback } from './plaintext.ts'
import { nameField, pathField, type Row } from './row-fields.ts'
import { rowFields } from './setting.ts'
import { suggestion } from './suggestion.ts'

/** One row of `services:`. */
export interface ServiceRow {
  readonly name: string
  /** Of http and https each request is judged; of tls and https the agent speaks TLS to the target. */
  readonly protocol: ServiceProtocol
  readonly target: Address
  readonly dataType: DataType
  /** Roots of the target. Default: those of the system. */
  readonly caFile?: string | undefined
}

/** How the agent speaks to the target of a service. */
export type ServiceProtocol = 'tcp' | 'tls' | 'http' | 'https'

const TARGET = /^(?<protocol>tcp|tls|https?):\/\/(?<address>[^/]+)\/?$/
const PORTS = { http: 80, https: 443, tcp: undefined, tls: undefined } as const

/** A row of `services:`, of either sort. */
export type AnyServiceRow = ServiceRow | GrpcServiceRow

/** Returns the rows that are forwarded to as they are, or request by request. */
export function forwardRows(services: readonly AnyServiceRow[]): ServiceRow[] {
  return services.filter((row) => row.protocol !== 'grpc')
}

/** Returns the rows whose methods are called one by one. */
export function grpcRows(services: readonly AnyServiceRow[]): GrpcServiceRow[] {
  return services.filter((row) => row.protocol === 'grpc')
}

/** Reads one row of `services`. Throws a plain Error for the loader to place. */
export function readService(row: Row): AnyServiceRow {
  const isGrpc = isGrpcTarget(row.target)
  if (!isGrpc) rowFields(row, ['name', 'target', 'dataType', 'caFile', 'plaintext'])
  const name = nameField(row)
  try {
    return isGrpc ? readGrpcService(row, name) : { name, ...readParts(row) }
  } catch (error) {
    throw new Error(`service ${name}: ${(error as Error).message}`, { cause: error })
  }
}

function readParts(row: Row): Omit<ServiceRow, 'name'> {
  const groups = typeof row.target === 'string' ? TARGET.exec(row.target)?.groups : undefined
  if (groups?.address === undefined)
    throw new Error(
      'target must be tls://host:port, https://host[:port], tcp://, http://, grpcs://, grpc:// or unix:/path',
    )
  const protocol = groups.protocol as ServiceProtocol
  const isOpaque = protocol === 'tcp' || protocol === 'tls'
  const dataType = readDataType(row.dataType)
  if (isOpaque && dataType !== 'service-traffic') {
    throw new Error(
      `what a ${protocol}:// target carries nobody can classify: its dataType is service-traffic, or the target ${protocol === 'tls' ? 'https' : 'http'}://`,
    )
  }
  const target = readTarget(groups.address, PORTS[protocol])
  const caFile = pathField(row, 'caFile')
  const isPlain = protocol === 'tcp' || protocol === 'http'
  if (isPlain && caFile !== undefined) throw new Error('caFile belongs to tls:// and https://')
  if (isPlain && !mayBePlain(row) && !isLoopback(target.host)) {
    throw new Error(
      `${protocol}://${target.host} leaves this machine in plain text: the target must be ${isOpaque ? 'tls' : 'https'}://, or the row say plaintext: allowed`,
    )
  }
  return { protocol, target, dataType, ...(caFile === undefined ? {} : { caFile }) }
}

function readDataType(dataType: unknown): DataType {
  const types = `one of ${crossingTypes().join(', ')}`
  const where = 'docs/PROTOCOL.md, section 7, says what each holds'
  if (dataType === undefined) throw new Error(`dataType is missing: it must be ${types}; ${where}`)
  const known = DATA_TYPE_NAMES.find((one) => one === dataType)
  if (known !== undefined && !mayCross(known)) throw new Error(neverText(known))
  if (known === undefined || known === 'own') {
    const near = typeof dataType === 'string' ? suggestion(dataType, DATA_TYPE_NAMES) : ''
    throw new Error(`dataType must be ${types}${near}; ${where}`)
  }
  return known
}

function readTarget(text: string, port: number | undefined): Address {
  const hasPort = /:\d+$/.test(text)
  return parseAddress(port !== undefined && !hasPort ? `${text}:${String(port)}` : text)
}
