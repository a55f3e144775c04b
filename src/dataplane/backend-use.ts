import type { Clock } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import { RpcError, rpcErrorOfCode } from '../rpc/status.ts'

const ID_BYTES = 4

/** The log, chance and counter that uses of backends are given. */
export interface FaultPorts {
  readonly logger: Logger
  readonly random: Pick<Random, 'hex'>
  /** Undefined: nobody counts. */
  readonly uses?: BackendUses
}

const KNOWN = {
  BACKEND_UNREACHABLE: 'it does not answer',
  BACKEND_REFUSED: 'it has refused the request',
  QUERY_REFUSED: 'it does not take the query',
  CREDENTIALS_MISSING: 'the agent has no credentials that it takes',
} as const

/** What stands behind the data plane's services: the setting that has its row, and its name there. */
export interface BackendName {
  readonly setting: 'stores' | 'prometheus' | 'clickhouse' | 'secrets' | 'logs' | 'executors'
  readonly name: string
}

/** What a use came to: `refused` is our own word on what was asked, `failed` what the backend or the way to it did. */
export type UseResult = 'succeeded' | 'refused' | 'failed'

/** What uses of one backend came to. */
export interface BackendUseReport extends BackendName {
  readonly results: Readonly<Record<UseResult, number>>
  readonly seconds: number
}

/** Counts uses of backends. Names are those of the settings alone. */
export class BackendUses {
  readonly #clock: Pick<Clock, 'nowMs'>
  readonly #reports = new Map<
    string,
    { -readonly [K in keyof BackendUseReport]: BackendUseReport[K] }
  >()

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock
  }

  /** Returns what hears of the end of a use that has begun. */
  begin(backend: BackendName): (result: UseResult) => void {
    const startMs = this.#clock.nowMs()
    return (result) => {
      const key = `${backend.setting}/${backend.name}`
      const known = this.#reports.get(key)
      const { results = { succeeded: 0, refused: 0, failed: 0 }, seconds = 0 } = known ?? {}
      this.#reports.set(key, {
        ...backend,
        results: { ...results, [result]: results[result] + 1 },
        seconds: seconds + (this.#clock.nowMs() - startMs) / 1000,
      })
    }
  }

  report(): readonly BackendUseReport[] {
    return [...this.#reports.values()]
  }
}

const WORDS = {
  ...{ stores: 'store', prometheus: 'source', clickhouse: 'source', secrets: 'secrets' },
  ...{ logs: 'logs', executors: 'executor' },
} as const

/** Uses a backend, counts what came of it, and turns what it did into what its caller is told. @throws RpcError */
export async function useBackend<T>(
  backend: BackendName,
  ports: FaultPorts,
  act: () => Promise<T>,
): Promise<T> {
  const end = ports.uses?.begin(backend)
  try {
    const result = await act()
    end?.('succeeded')
    return result
  } catch (error) {
    end?.(resultOf(error))
    throw backendFault(error, backend, ports)
  }
}

/** The same for what tells one thing after another. */
export async function* useStream<T>(
  backend: BackendName,
  ports: FaultPorts,
  act: () => AsyncIterable<T>,
): AsyncGenerator<T, void> {
  const end = ports.uses?.begin(backend)
  let result: UseResult = 'succeeded'
  try {
    yield* act()
  } catch (error) {
    result = resultOf(error)
    throw backendFault(error, backend, ports)
  } finally {
    end?.(result)
  }
}

function resultOf(error: unknown): UseResult {
  return error instanceof RpcError ? 'refused' : 'failed'
}

/**
 * Turns what a backend did, or a library said of it, into what its caller is told: a closed reason, and the id under which the log
 * of the agent has the rest.
 */
function backendFault(
  error: unknown,
  { setting, name }: BackendName,
  { logger, random }: FaultPorts,
): RpcError {
  if (error instanceof RpcError) return error
  const what = `${WORDS[setting]} ${name}`
  const ours = error instanceof PosternError ? error : undefined
  const code = ours !== undefined && ours.code in KNOWN ? ours.code : 'BACKEND_REFUSED'
  const errorId = random.hex(ID_BYTES)
  // Of errors that are not ours the name alone: their texts may hold what was sent.
  const reason = ours?.rawMessage ?? (error instanceof Error ? error.name : 'no error')
  logger.warn({ component: 'dataplane', service: what, code, reason, errorId }, 'a backend failed')
  return rpcErrorOfCode(code, `${what}: ${KNOWN[code as keyof typeof KNOWN]}; id ${errorId}`)
}
