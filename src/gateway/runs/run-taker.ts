import { asPosternError } from '../../base/errors.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { AppendRequest } from '../../gen/postern/v1/runs_pb.js'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import type { RunBook } from './run-book.ts'

/** Batches of one tunnel: what a busy cluster has, and no more of the store than that. */
const BATCHES_PER_SECOND = 20
const BATCHES_BURST = 100

/** Takes events of runs from one tunnel, at a rate. */
export class RunTaker {
  readonly #book: RunBook
  readonly #rate = new TokenBucket(BATCHES_PER_SECOND, BATCHES_BURST)

  constructor(book: RunBook) {
    this.#book = book
  }

  /** @throws RpcError EVENTS_FULL, EVENT_REFUSED */
  async append(
    { cluster, agent }: { readonly cluster: string; readonly agent: string },
    { entries }: AppendRequest,
    nowMs: number,
  ): Promise<{ readonly kept: number }> {
    if (!this.#rate.spend(nowMs))
      throw rpcErrorOfCode('EVENTS_FULL', 'events come faster than this gateway keeps them', true)
    try {
      return { kept: await this.#book.append(cluster, agent, entries) }
    } catch (error) {
      const { code, rawMessage } = asPosternError(error)
      throw rpcErrorOfCode(code, code === 'EVENT_REFUSED' ? rawMessage : '')
    }
  }
}
