import type { HeartbeatReport } from '../clusters/clusters.ts'

const AGENTS_MAX = 100_000

/** Notices an agent's record that was cut off or written anew: it has fewer lines than before, or as many with another end. */
export class RecordWatch {
  readonly #known = new Map<string, { readonly lines: bigint; readonly head: string }>()

  /** Takes what an agent says of its record; returns what is wrong with it, in words. `key`: of cluster and agent. */
  look(key: string, { recordLines: lines, recordHead }: HeartbeatReport): string | undefined {
    const head = Buffer.from(recordHead).toString('hex')
    const before = this.#known.get(key)
    if (before !== undefined || this.#known.size < AGENTS_MAX) this.#known.set(key, { lines, head })
    if (before === undefined || lines > before.lines) return undefined
    if (lines === before.lines && head === before.head) return undefined
    return `the record had ${String(before.lines)} lines and ended in ${before.head}; now it has ${String(lines)} and ends in ${head}`
  }
}
