import { printable, type ErrorCode } from '../../base/errors.ts'

const ERRORS_MAX = 10
const CLUSTERS_MAX = 10_000
const TEXT_MAX = 300

/** Why a tunnel of a cluster ended, or was not let in. */
export interface ClusterError {
  readonly atMs: number
  readonly agent: string
  readonly code: ErrorCode
  readonly text: string
}

/** The last errors of each cluster, of those that had one lately. */
export class ClusterErrors {
  readonly #byCluster = new Map<string, ClusterError[]>()

  note(cluster: string, error: ClusterError): void {
    const errors = this.#byCluster.get(cluster) ?? []
    errors.push({ ...error, text: printable(error.text, TEXT_MAX) })
    if (errors.length > ERRORS_MAX) errors.shift()
    // Entered anew, it is the last to be let go.
    this.#byCluster.delete(cluster)
    this.#byCluster.set(cluster, errors)
    const [oldest] = this.#byCluster.keys()
    if (this.#byCluster.size > CLUSTERS_MAX && oldest !== undefined) this.#byCluster.delete(oldest)
  }

  /** Oldest first. */
  of(cluster: string): readonly ClusterError[] {
    return this.#byCluster.get(cluster) ?? []
  }
}
