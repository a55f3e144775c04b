import { readdirSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, freemem, loadavg, totalmem } from 'node:os'

/** What the agent's machine has, and has left; absent where it is not known. */
export interface Capacity {
  readonly cpus: number
  /** Load average over one minute. */
  readonly load: number
  readonly memoryBytesMax: bigint
  readonly memoryBytesUsed: bigint
  /** Of the volume that holds the agent's state. */
  readonly diskBytesMax?: bigint
  readonly diskBytesFree?: bigint
  readonly filesMax?: number
  readonly filesOpen?: number
}

/** A control group may allow less memory than the machine has. */
export function readCapacity(stateDirectory: string): Capacity {
  const allowed = process.constrainedMemory()
  const isBound = allowed > 0 && allowed < totalmem()
  const used = isBound ? process.memoryUsage.rss() : totalmem() - freemem()
  return {
    cpus: availableParallelism(),
    load: loadavg()[0] ?? 0,
    memoryBytesMax: BigInt(Math.round(isBound ? allowed : totalmem())),
    memoryBytesUsed: BigInt(Math.round(used)),
    ...attempt(() => {
      const { blocks, bavail, bsize } = statfsSync(stateDirectory, { bigint: true })
      return { diskBytesMax: blocks * bsize, diskBytesFree: bavail * bsize }
    }),
    ...attempt(() => ({ filesOpen: readdirSync('/proc/self/fd').length })),
    ...attempt(() => {
      const [, limit] =
        /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
      return limit === undefined ? {} : { filesMax: Number(limit) }
    }),
  }
}

/** Not every system tells everything. */
function attempt<T extends object>(read: () => T): T | object {
  try {
    return read()
  } catch {
    // What the system does not tell is left out.
    return {}
  }
}
