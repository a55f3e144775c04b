import type { BackendFiles } from './backend-files.ts'

/** One row of `executors:`. */
export interface ExecutorRow extends BackendFiles {
  readonly name: string
  readonly type: 'http' | 'grpc'
  /** Before "/postern.dataplane.v1.Tasks/METHOD"; without a slash at its end. */
  readonly url: URL
  /** Repositories whose images may run: host/path, where a star at the end stands for any end. */
  readonly images: readonly string[]
  /** Images must be named by their digest. */
  readonly needsDigest: boolean
  /** Longest value in line, in bytes. */
  readonly literalBytesMax: number
  readonly timeoutMs: number
}
