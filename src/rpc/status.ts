import { ERROR_CODES, type ErrorCode } from '../base/error-codes.ts'
import { PosternError } from '../base/errors.ts'
import type { Metadata } from '../wire/metadata.ts'

/** gRPC status codes (github.com/grpc/grpc, doc/statuscodes.md). The index is the number. */
export const STATUS_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const

/** The name of a gRPC status. */
export type StatusName = (typeof STATUS_NAMES)[number]

/** Returns the number of a gRPC status. */
export function statusNumber(name: StatusName): number {
  return STATUS_NAMES.indexOf(name)
}

/** UNKNOWN for a number outside the table. */
export function statusName(number: number): StatusName {
  return STATUS_NAMES[number] ?? 'UNKNOWN'
}

/** How a call failed. Thrown to callers; thrown by handlers to answer with a status of their choice. */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly status: StatusName
  readonly rawMessage: string
  /** Why, in our own codes, where the failure was ours rather than the handler's. */
  readonly code: ErrorCode | undefined
  /** True when the call was certainly not started at the other end: it may be sent again. */
  readonly notStarted: boolean
  /** True when a peer said so by its own words: they are not told to others. */
  readonly isRemote: boolean
  /** Metadata that came with the status. */
  readonly metadata: Metadata

  constructor(
    status: StatusName,
    message: string,
    details: {
      code?: ErrorCode
      notStarted?: boolean
      isRemote?: boolean
      metadata?: Metadata
      cause?: unknown
    } = {},
  ) {
    super(`[${status}] ${message}`, { cause: details.cause })
    this.status = status
    this.rawMessage = message
    this.code = details.code
    this.notStarted = details.notStarted ?? false
    this.isRemote = details.isRemote ?? false
    this.metadata = details.metadata ?? {}
  }
}

/** The status that a caller sees for one of our codes. */
export function statusOfCode(code: ErrorCode): StatusName {
  const name = ERROR_CODES[code].grpc as StatusName
  return STATUS_NAMES.includes(name) ? name : 'UNKNOWN'
}

/** Makes the error that a caller sees for one of our codes. */
export function rpcErrorOfCode(code: ErrorCode, text: string, notStarted = false): RpcError {
  const message = text === '' ? ERROR_CODES[code].meaning : text
  return new RpcError(statusOfCode(code), `${code}: ${message}`, { code, notStarted })
}

/** Any error as an RpcError; ours keep their code. `notStarted`: it came before anything was written. */
export function asRpcError(error: unknown, notStarted = false): RpcError {
  if (error instanceof RpcError) return error
  if (error instanceof PosternError) return rpcErrorOfCode(error.code, error.rawMessage, notStarted)
  return new RpcError('UNKNOWN', error instanceof Error ? error.message : String(error), {
    notStarted,
    cause: error,
  })
}
