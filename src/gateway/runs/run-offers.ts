import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
import { Runs, type ListRunsResponseSchema } from '../../gen/postern/v1/runs_pb.js'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import type { RunBook, RunQuery } from './run-book.ts'

const LIMIT = 100
const LIMIT_MAX = 500
/** Events may have 48 KiB each: an answer holds as many as one message surely takes. */
const WATCH_LIMIT = 50
const LOOK_MS = 250
const CURSOR = /^\d{1,15}$/

type Answer = MessageInitShape<typeof ListRunsResponseSchema>

/** Which clusters a caller may know of, by the context of its call. */
export interface RunView {
  sees(context: CallContext, cluster: string): boolean
}

/** postern.v1.Runs: what the gateway has kept of runs. */
export function runOffers(book: RunBook, clock: Clock, view: RunView): Offer[] {
  const judge = (context: CallContext, cluster: string): void => {
    if (view.sees(context, cluster)) return
    throw rpcErrorOfCode('POLICY_DENIED', `no role of this caller speaks of cluster ${cluster}`)
  }
  const told = async (
    query: RunQuery,
  ): Promise<Answer & { readonly last: number; readonly count: number }> => {
    const kept = await book.list(query)
    const last = kept.at(-1)?.id ?? query.after
    const events = kept.map(({ agent, receivedAtMs, event }) => ({
      ...{ agent, event, receivedAtMs: BigInt(receivedAtMs) },
    }))
    return { events, cursor: String(last), last, count: kept.length }
  }
  return offersOf(Runs, {
    list: async ({ cluster, run, cursor, limit }, context) => {
      judge(context, cluster)
      if (limit > LIMIT_MAX)
        throw rpcErrorOfCode('QUERY_REFUSED', `limit is at most ${String(LIMIT_MAX)}`)
      const after = cursor === '' ? 0 : numberOf(cursor)
      const query = { cluster, run: run === '' ? undefined : run, after, limit: limit || LIMIT }
      const { events = [], cursor: next = '' } = await told(query)
      return { events, cursor: next }
    },
    async *watch({ cluster, run, cursor }, context) {
      const { signal } = context
      judge(context, cluster)
      let after = cursor === '' ? await book.newest() : numberOf(cursor)
      // Where to go on is told at once: whoever is cut off before the first event misses none.
      yield { cursor: String(after) }
      while (!signal.aborted) {
        const query = { cluster, run: run === '' ? undefined : run, after, limit: WATCH_LIMIT }
        const { events = [], cursor: next = '', last, count } = await told(query)
        // A role may have been taken away since.
        judge(context, cluster)
        after = last
        if (count > 0) yield { events, cursor: next }
        else await pause(clock, LOOK_MS, signal)
      }
    },
  })
}

function numberOf(cursor: string): number {
  if (CURSOR.test(cursor)) return Number(cursor)
  throw rpcErrorOfCode('CURSOR_INVALID', 'the cursor is none that was told')
}
