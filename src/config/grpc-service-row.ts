import { isAbsolute } from 'node:path'
import { parseAddress } from '../base/address.ts'
import { DATA_TYPE_NAMES, type DataType } from '../contract/data-type.ts'
import type { GrpcRow, MethodRow } from '../dataplane/vendor/vendor.ts'
import { mayCross, neverText } from '../guard/catalog.ts'
import { isLoopback, mayBePlain } from './plaintext.ts'
import { choiceField, pathField, textField, type Row } from './row-fields.ts'
import { rowFields } from './setting.ts'
import { suggestion } from './suggestion.ts'

/** A row of `services` whose methods are called one by one. */
export type GrpcServiceRow = GrpcRow & { readonly protocol: 'grpc' }

const TARGET = /^(?:(?<protocol>grpcs?):\/\/(?<address>[^/]+)\/?|unix:(?<socket>\/.+))$/
const FIELDS = [
  ...['name', 'target', 'caFile', 'serverName', 'certificateFile', 'keyFile', 'descriptors'],
  ...['methods', 'errorTexts', 'plaintext'],
]
const METHOD = /^[A-Za-z_][\w.]{0,200}\/[A-Za-z_]\w{0,200}$/
const HOST = /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/i
const KINDS = ['unary', 'serverStream', 'clientStream', 'bidi'] as const
const TLS_FIELDS = ['caFile', 'serverName', 'certificateFile', 'keyFile'] as const

/** Whether a target is that of a server of gRPC. */
export function isGrpcTarget(target: unknown): boolean {
  return typeof target === 'string' && /^(?:grpcs?:|unix:)/.test(target)
}

/** Reads a row with such a target. Throws a plain Error for the loader to place. */
export function readGrpcService(row: Row, name: string): GrpcServiceRow {
  rowFields(row, FIELDS)
  const groups = TARGET.exec(String(row.target))?.groups
  if (groups === undefined)
    throw new Error('target must be grpcs://host:port, grpc://host:port or unix:/path')
  const { protocol, address, socket: socketPath } = groups
  const isTls = protocol === 'grpcs'
  const target = address === undefined ? undefined : parseAddress(address)
  const extra = isTls ? undefined : TLS_FIELDS.find((field) => row[field] !== undefined)
  if (extra !== undefined) throw new Error(`${extra} belongs to grpcs://`)
  if (target !== undefined && !isTls && !mayBePlain(row) && !isLoopback(target.host))
    throw new Error(
      `grpc://${target.host} leaves this machine in plain text: the target must be grpcs://, or the row say plaintext: allowed`,
    )
  if (socketPath !== undefined && !isAbsolute(socketPath)) throw new Error('unix: needs a path')
  const [certificateFile, keyFile] = [pathField(row, 'certificateFile'), pathField(row, 'keyFile')]
  if ((certificateFile === undefined) !== (keyFile === undefined))
    throw new Error('certificateFile and keyFile go together')
  const serverName = textField(row, 'serverName')
  if (serverName !== undefined && !HOST.test(serverName))
    throw new Error('serverName must be a host name')
  return {
    ...{ name, protocol: 'grpc', target, socketPath, isTls, serverName, certificateFile, keyFile },
    caFile: pathField(row, 'caFile'),
    descriptorsFile: pathField(row, 'descriptors'),
    methods: methodRows(row.methods ?? []),
    errorTexts: choiceField(row, 'errorTexts', ['drop', 'pass'] as const, 'drop'),
  }
}

function methodRows(value: unknown): MethodRow[] {
  if (!Array.isArray(value)) throw new Error('methods must be a list')
  return value.map((one: unknown) => {
    if (typeof one !== 'object' || one === null)
      throw new Error('methods must be a list of mappings')
    const row = one as Row
    rowFields(row, ['name', 'dataType', 'kind'])
    const { name } = row
    if (typeof name !== 'string' || !METHOD.test(name))
      throw new Error('the name of a method must be package.Service/Method')
    try {
      const kind = choiceField(row, 'kind', KINDS, 'unary')
      return { name, dataType: dataTypeOf(row.dataType), kind }
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`, { cause: error })
    }
  })
}

function dataTypeOf(value: unknown): DataType {
  const known = DATA_TYPE_NAMES.find((one) => one === value)
  if (known !== undefined && mayCross(known)) return known
  if (known !== undefined) throw new Error(neverText(known))
  const near = typeof value === 'string' ? suggestion(value, DATA_TYPE_NAMES) : ''
  throw new Error(`dataType must be one of those of docs/PROTOCOL.md, section 7${near}`)
}
