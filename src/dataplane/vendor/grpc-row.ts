import type { Address } from '../../base/address.ts'
import type { CallKind } from '../../contract/call-guard.ts'
import type { DataType } from '../../contract/data-type.ts'

/** A method that the settings name: what its own description does not say. */
export interface MethodRow {
  /** "package.Service/Method". */
  readonly name: string
  readonly dataType: DataType
  /** Where it has no description. */
  readonly kind: Exclude<CallKind, 'forward'>
}

/** A server of gRPC behind the agent, whose methods are called one by one. */
export interface GrpcRow {
  readonly name: string
  /** Host and port; undefined for a unix socket. */
  readonly target: Address | undefined
  readonly socketPath: string | undefined
  readonly isTls: boolean
  /** Roots of the server. Default: those of the system. */
  readonly caFile: string | undefined
  /** Name in the server's certificate, where it is not the host. */
  readonly serverName: string | undefined
  /** Shown to the server. */
  readonly certificateFile: string | undefined
  readonly keyFile: string | undefined
  /** A descriptor set, as `protoc --include_imports --descriptor_set_out` writes it. */
  readonly descriptorsFile: string | undefined
  readonly methods: readonly MethodRow[]
  /** Whether what the server says of an error crosses: its status always does. */
  readonly errorTexts: 'drop' | 'pass'
}
