import type { Clock } from '../../base/clock.ts'
import { asPosternError } from '../../base/errors.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { ENTRIES_MAX, eventRefused } from '../../contract/run-event.ts'
import type { AppendRequest } from '../../gen/postern/v1/runs_pb.js'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import type { RunBook } from './run-book.ts'
import { runRow } from './run-row.ts'

/** Of one cluster, over all its agents and tunnels: what a busy one has, and no more of the store than that. */
const ENTRIES_PER_SECOND = 500
const ENTRIES_BURST = 5000
const BYTES_PER_SECOND = 512 * 1024
const BYTES_BURST = 8 * 1024 * 1024
const WAITING_MAX = 8
/** After this a cluster's rates are as if it had never come. */
const FORGET_MS = 60_000

interface Lane {
  readonly entries: TokenBucket
  readonly bytes: TokenBucket
  /** Batches whose turn has not come. */
  readonly waiting: (() => Promise<void>)[]
  usedAtMs: number
}

/** Who brings events. */
export interface RunSource {
  readonly cluster: string
  readonly agent: string
}

/**
 * Takes events of runs from agents, at a rate of each cluster that outlives its tunnels, and writes one batch at a time, the clusters in
 * turns: what else the store is asked never waits for more than that.
 */
export class RunIntake {
  readonly #book: Pick<RunBook, 'append'>
  readonly #clock: Pick<Clock, 'nowMs'>
  readonly #lanes = new Map<string, Lane>()
  /** Lanes with something that waits, in the order of their turns. */
  readonly #turns: Lane[] = []
  #isWriting = false
  #sweptAtMs = 0

  constructor(book: Pick<RunBook, 'append'>, clock: Pick<Clock, 'nowMs'>) {
    this.#book = book
    this.#clock = clock
  }

  /** @throws RpcError EVENTS_FULL, EVENT_REFUSED, RECORDS_UNUSABLE */
  async append(
    { cluster, agent }: RunSource,
    { entries }: AppendRequest,
  ): Promise<{ readonly kept: number }> {
    const nowMs = this.#clock.nowMs()
    const lane = this.#laneOf(cluster, nowMs)
    if (lane.waiting.length >= WAITING_MAX) throw full()
    if (!lane.entries.spend(nowMs, Math.max(1, entries.length))) throw full()
    try {
      if (entries.length > ENTRIES_MAX)
        throw eventRefused(`at most ${String(ENTRIES_MAX)} entries come at once`)
      const rows = entries.map(runRow)
      const bytes = rows.reduce((sum, { length }) => sum + length, 0)
      if (!lane.bytes.spend(nowMs, bytes)) throw full()
      await this.#inTurn(lane, () => this.#book.append(cluster, agent, rows))
      return { kept: entries.length }
    } catch (error) {
      const { code, rawMessage } = asPosternError(error)
      throw rpcErrorOfCode(code, code === 'EVENT_REFUSED' ? rawMessage : '', code === FULL)
    }
  }

  #laneOf(cluster: string, nowMs: number): Lane {
    if (nowMs - this.#sweptAtMs > FORGET_MS) {
      this.#sweptAtMs = nowMs
      for (const [name, { usedAtMs, waiting }] of this.#lanes)
        if (waiting.length === 0 && nowMs - usedAtMs > FORGET_MS) this.#lanes.delete(name)
    }
    const known = this.#lanes.get(cluster)
    if (known !== undefined) {
      known.usedAtMs = nowMs
      return known
    }
    const lane: Lane = {
      entries: new TokenBucket(ENTRIES_PER_SECOND, ENTRIES_BURST),
      bytes: new TokenBucket(BYTES_PER_SECOND, BYTES_BURST),
      waiting: [],
      usedAtMs: nowMs,
    }
    this.#lanes.set(cluster, lane)
    return lane
  }

  async #inTurn(lane: Lane, write: () => Promise<void>): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      lane.waiting.push(() => write().then(resolve, reject))
      if (lane.waiting.length === 1) this.#turns.push(lane)
      if (!this.#isWriting) void this.#write()
    })
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    for (let lane = this.#turns.shift(); lane !== undefined; lane = this.#turns.shift()) {
      await lane.waiting[0]?.()
      lane.waiting.shift()
      if (lane.waiting.length > 0) this.#turns.push(lane)
    }
    this.#isWriting = false
  }
}

const FULL = 'EVENTS_FULL'

function full(): Error {
  return rpcErrorOfCode(FULL, 'events come faster than this gateway keeps them', true)
}
