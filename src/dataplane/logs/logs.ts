import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import type { Clock } from '../../base/clock.ts'
import {
  Logs,
  TailResponse_Marker_Kind as MarkerKind,
  type TailRequest,
  type TailResponseSchema,
} from '../../gen/postern/dataplane/v1/logs_pb.js'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import { useStream, type FaultPorts } from '../backend-use.ts'
import { openLogSource } from '../log-sources/log-sources.ts'
import type { LogSource, LogStep, TailWish } from '../log-source.ts'
import type { LogsRow } from '../logs-row.ts'
import type { StoreRow } from '../store-row.ts'
import { dropBehind } from './drop-behind.ts'
import { compileFilter, Redactor, type Re2 } from './line-rules.ts'
import { Picking } from './picking.ts'

type Response = MessageInitShape<typeof TailResponseSchema>

/** The collaborators of the sources of logs. */
export interface LogPorts extends FaultPorts {
  readonly clock: Clock
  /** Those that rows of logs may name. */
  readonly stores: readonly StoreRow[]
}

/** The customer's logs: told line by line, as fast as a caller reads, filtered and redacted by expressions that no text makes slow. */
export class LogSources {
  readonly #rows: ReadonlyMap<string, LogsRow>
  readonly #ports: LogPorts
  readonly #sources = new Map<string, Promise<LogSource>>()

  constructor(rows: readonly LogsRow[], ports: LogPorts) {
    this.#rows = new Map(rows.map((row) => [row.name, row]))
    this.#ports = ports
  }

  /** `postern.dataplane.v1.Logs`. */
  offers(): Offer[] {
    return offersOf(Logs, { tail: (request, context) => this.#tail(request, context) })
  }

  /** What stands in the settings of each. */
  report(): { readonly name: string; readonly type: LogsRow['type']; readonly where: string }[] {
    return [...this.#rows.values()].map((row) => {
      const { name, type } = row
      return { name, type, where: whereOf(row) }
    })
  }

  async *#tail(request: TailRequest, { signal }: CallContext): AsyncGenerator<Response, void> {
    const row = this.#rows.get(request.source)
    if (row === undefined) throw rpcErrorOfCode('SOURCE_UNKNOWN', 'no source of logs has that name')
    const ended = new AbortController()
    const wish = wishOf(request, AbortSignal.any([signal, ended.signal]))
    try {
      yield* useStream({ setting: 'logs', name: row.name }, this.#ports, () =>
        this.#lines(row, request, wish),
      )
    } finally {
      ended.abort()
    }
  }

  async *#lines(
    row: LogsRow,
    { filter: pattern, limit }: TailRequest,
    wish: TailWish,
  ): AsyncGenerator<Response, void> {
    const { RE2JS } = (await import('re2js')) as unknown as { RE2JS: Re2 }
    const redactor = new Redactor(RE2JS, row.redact)
    const picking = new Picking(wish, limit, redactor, compileFilter(RE2JS, pattern))
    const source = await this.#open(row)
    const steps = source.tail(wish)
    yield* tell(wish.drop && !source.dropsItself ? dropBehind(steps) : steps, picking)
  }

  async #open(row: LogsRow): Promise<LogSource> {
    const known = this.#sources.get(row.name)
    if (known !== undefined) return await known
    const opening = openLogSource(row, this.#ports)
    this.#sources.set(row.name, opening)
    // Files that were not there may be there the next time.
    opening.catch(() => this.#sources.delete(row.name))
    return await opening
  }
}

async function* tell(
  steps: AsyncIterable<LogStep>,
  picking: Picking,
): AsyncGenerator<Response, void> {
  for await (const step of steps) {
    if (step.kind !== 'lines') {
      const kind = step.kind === 'gap' ? MarkerKind.GAP : MarkerKind.DROPPED
      yield { marker: { kind, bytes: BigInt(step.bytes) }, cursor: step.cursor }
      continue
    }
    const { lines, count } = picking.pick(step.lines)
    // A cursor on its own, too: a filter that matches nothing for long is got past.
    yield { lines, cursor: step.cursorBehind(count) }
    if (picking.hasEnded) return
  }
}

function wishOf(request: TailRequest, signal: AbortSignal): TailWish {
  const { labels, cursor, since, until, last, follow, drop } = request
  return {
    ...{ labels, cursor, last, follow, drop, signal },
    sinceMs: since === undefined ? undefined : timestampMs(since),
    untilMs: until === undefined ? undefined : timestampMs(until),
  }
}

function whereOf(row: LogsRow): string {
  switch (row.type) {
    case 'files':
      return `files in ${row.directory}`
    case 'journald':
      return `journal ${row.directory ?? 'of this machine'}`
    case 'objects':
      return `objects in store ${row.store}`
    case 'cloudwatch':
    case 'google':
      return `${row.type} at ${row.endpoint.origin}`
    default:
      return `${row.type} at ${row.url.origin}`
  }
}
