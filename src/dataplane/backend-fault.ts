import { PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import { RpcError, rpcErrorOfCode } from '../rpc/status.ts'

const ID_BYTES = 4

/** The log and chance that `backendFault` is given. */
export interface FaultPorts {
  readonly logger: Logger
  readonly random: Pick<Random, 'hex'>
}

const KNOWN = {
  BACKEND_UNREACHABLE: 'it does not answer',
  BACKEND_REFUSED: 'it has refused the request',
  QUERY_REFUSED: 'it does not take the query',
  CREDENTIALS_MISSING: 'the agent has no credentials that it takes',
} as const

/**
 * Turns what a backend did, or a library said of it, into what its caller is told: a closed reason, and the id under which the log
 * of the agent has the rest. `what`: such as `store artifacts`.
 */
export function backendFault(
  error: unknown,
  what: string,
  { logger, random }: FaultPorts,
): RpcError {
  if (error instanceof RpcError) return error
  const ours = error instanceof PosternError ? error : undefined
  const code = ours !== undefined && ours.code in KNOWN ? ours.code : 'BACKEND_REFUSED'
  const errorId = random.hex(ID_BYTES)
  // Of errors that are not ours the name alone: their texts may hold what was sent.
  const reason = ours?.rawMessage ?? (error instanceof Error ? error.name : 'no error')
  logger.warn({ component: 'dataplane', service: what, code, reason, errorId }, 'a backend failed')
  return rpcErrorOfCode(code, `${what}: ${KNOWN[code as keyof typeof KNOWN]}; id ${errorId}`)
}
