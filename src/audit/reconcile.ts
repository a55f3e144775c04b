import type { Access } from './access-log.ts'
import { mintedOf } from './handed-out.ts'

/** Clocks of stores and ours differ. */
const SKEW_MS = 300_000
const UNEXPLAINED_MAX = 1000

interface Grant {
  readonly fromMs: number
  readonly untilMs: number
  isUsed: boolean
}

/** What URLs that were handed out and the uses that their store has logged come to together. */
export interface Reconciled {
  readonly minted: number
  /** URLs that were used; those of one call count as one. */
  readonly used: number
  readonly accesses: number
  /** Uses that the store has refused. */
  readonly refused: number
  /** Uses by presigned URLs that the record knows nothing of: at most a thousand. */
  readonly unexplained: readonly Access[]
}

/** Holds a store's own access log against the record: each use of a presigned URL must be of one that the agent has handed out. */
export class Reconciling {
  readonly #grants = new Map<string, Grant[]>()
  readonly #unexplained: Access[] = []
  #minted = 0
  #accesses = 0
  #refused = 0

  /** A line of the record; all of them come before the first access. */
  line(line: Readonly<Record<string, unknown>>): void {
    const minted = mintedOf(line)
    const fromMs = Date.parse(String(line.at))
    if (minted === undefined || Number.isNaN(fromMs)) return
    this.#minted++
    const name = `${minted.verb} ${minted.key}`
    const grants = this.#grants.get(name) ?? []
    grants.push({ fromMs, untilMs: Date.parse(minted.expires), isUsed: false })
    this.#grants.set(name, grants)
  }

  access(access: Access): void {
    this.#accesses++
    if (!access.isDone) {
      this.#refused++
      return
    }
    const grants = this.#grants.get(`${access.verb} ${access.keyHash}`) ?? []
    const { atMs } = access
    const grant = grants.find(
      ({ fromMs, untilMs }) => atMs >= fromMs - SKEW_MS && atMs <= untilMs + SKEW_MS,
    )
    if (grant !== undefined) grant.isUsed = true
    else if (this.#unexplained.length < UNEXPLAINED_MAX) this.#unexplained.push(access)
  }

  end(): Reconciled {
    const all = [...this.#grants.values()].flat()
    return {
      minted: this.#minted,
      used: all.filter(({ isUsed }) => isUsed).length,
      accesses: this.#accesses,
      refused: this.#refused,
      unexplained: this.#unexplained,
    }
  }
}
