import { ByteBudget } from '../base/byte-budget.ts'
import { PosternError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Tracer } from '../base/tracing.ts'
import type { Random } from '../base/random.ts'
import { DEFAULT_MUX_LIMITS, type MuxLimits } from '../mux/limits.ts'
import { RpcRuntime } from '../rpc/runtime.ts'
import type { ProcessParts } from './rpc-connection.ts'
import { SlabPool } from './slab-pool.ts'

/** What a process is given from outside: time, chance, a log, and where spans go. */
export interface Ambient {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly tracer?: Tracer | undefined
  /** Hears every statement that the store is asked, for diagnosis. */
  readonly onQuery?: ((sql: string) => void) | undefined
}

/** The settings that sessions and calls of every program read. */
export interface SessionSettings {
  readonly 'tunnel.pingInterval': number
  readonly 'tunnel.silence': number
  readonly 'limits.windowBytesMax': number
  readonly 'limits.sessionWindowBytesMax': number
  readonly 'rpc.messageBytesMax': number
  readonly 'limits.streamsMax'?: number
  readonly 'limits.bufferBytesMax'?: number
}

const BUFFER_BYTES_MAX = 256 * 1024 * 1024

/** Builds, once per process, what its connections share. @throws CONFIG_INVALID */
export function processParts(settings: SessionSettings, ambient: Ambient): ProcessParts {
  if (settings['tunnel.silence'] <= settings['tunnel.pingInterval'])
    throw new PosternError('CONFIG_INVALID', 'tunnel.silence must be above tunnel.pingInterval')
  const limits: MuxLimits = {
    ...DEFAULT_MUX_LIMITS,
    streamsMax: settings['limits.streamsMax'] ?? DEFAULT_MUX_LIMITS.streamsMax,
    windowBytesMax: settings['limits.windowBytesMax'],
    sessionWindowBytesMax: settings['limits.sessionWindowBytesMax'],
    pingIntervalMs: settings['tunnel.pingInterval'],
    silenceMs: settings['tunnel.silence'],
  }
  const budget = new ByteBudget(settings['limits.bufferBytesMax'] ?? BUFFER_BYTES_MAX)
  const rpcLimits = { messageBytesMax: settings['rpc.messageBytesMax'] }
  const runtime = new RpcRuntime({ ...ambient, limits: rpcLimits })
  return { runtime, limits, budget, slabs: new SlabPool() }
}
