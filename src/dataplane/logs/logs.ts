import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import type { Clock } from '../../base/clock.ts'
import { pause } from '../../base/pause.ts'
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
import type { LogLine } from '../log-lines.ts'
import { openLogSource } from '../log-sources/log-sources.ts'
import type { LogSource, LogStep, TailWish } from '../log-source.ts'
import type { LogsRow } from '../logs-row.ts'
import type { StoreRow } from '../store-row.ts'
import { dropBehind } from './drop-behind.ts'
import { compileFilter, Redactor, type Re2 } from './line-rules.ts'
import { Picking } from './picking.ts'

type Response = MessageInitShape<typeof TailResponseSchema>

/** Tails that run at once: each may have a process, connections and pages of its own. */
const TAILS_OF_ROW_MAX = 16
const TAILS_MAX = 64
/** Of one answer. */
const PART_BYTES_MAX = 64 * 1024
const PART_LINES_MAX = 500
const TURN_MS = 10
/** Lines may come that much after their time. */
const LATE_MS = 5000
const TIMER_MS_MAX = 24 * 3_600_000

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
  /** Tails of each row that run. */
  readonly #running = new Map<string, number>()

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
    const running = [...this.#running.values()].reduce((sum, count) => sum + count, 0)
    const ofRow = this.#running.get(row.name) ?? 0
    if (ofRow >= TAILS_OF_ROW_MAX || running >= TAILS_MAX)
      throw rpcErrorOfCode('TAILS_FULL', 'as many tails run as may: end one, or try again', true)
    this.#running.set(row.name, ofRow + 1)
    const ended = new AbortController()
    const wish = wishOf(request, AbortSignal.any([signal, ended.signal]))
    const cancel = this.#endAtUntil(wish, ended)
    try {
      yield* useStream({ setting: 'logs', name: row.name }, this.#ports, () =>
        this.#lines(row, request, wish),
      )
    } finally {
      cancel()
      ended.abort()
      this.#running.set(row.name, (this.#running.get(row.name) ?? 1) - 1)
    }
  }

  /** A log in which nothing more is said is not followed beyond the time up to which it was asked for. */
  #endAtUntil({ follow, untilMs }: TailWish, ended: AbortController): () => void {
    const { clock } = this.#ports
    if (!follow || untilMs === undefined) return () => undefined
    const leftMs = untilMs + LATE_MS - clock.wallMs()
    return clock.startTimer(Math.min(Math.max(LATE_MS, leftMs), TIMER_MS_MAX), () => {
      ended.abort()
    })
  }

  async *#lines(
    row: LogsRow,
    { filter: pattern, limit }: TailRequest,
    wish: TailWish,
  ): AsyncGenerator<Response, void> {
    const { RE2JS } = (await import('re2js')) as unknown as { RE2JS: Re2 }
    const redactor = new Redactor(RE2JS, row.redact)
    const filter = compileFilter(RE2JS, pattern)
    const { lineBytesMax } = row
    const picking = new Picking(wish, limit, { redactor, filter, lineBytesMax })
    const source = await this.#open(row)
    const steps = source.tail(wish)
    const { clock } = this.#ports
    const { signal } = wish
    // What is kept waits for its caller; what comes does not.
    const mayDrop = wish.drop && wish.follow && !source.dropsItself
    yield* tell(mayDrop ? dropBehind(steps, { clock, signal }) : steps, picking, clock)
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
  clock: Clock,
): AsyncGenerator<Response, void> {
  for await (const step of steps) {
    if (step.kind !== 'lines') {
      const kind = step.kind === 'gap' ? MarkerKind.GAP : MarkerKind.DROPPED
      yield { marker: { kind, bytes: BigInt(step.bytes) }, cursor: step.cursor }
      continue
    }
    for (let from = 0; from < step.lines.length;) {
      const startMs = clock.nowMs()
      const part = partOf(step.lines, from)
      const { lines, count } = picking.pick(part)
      // A cursor on its own, too: a filter that matches nothing for long is got past.
      yield { lines, cursor: step.cursorBehind(from + count) }
      if (picking.hasEnded) return
      from += part.length
      // Lines that take long are not all that the agent has to do.
      if (clock.nowMs() - startMs > TURN_MS) await pause(clock, 0)
    }
  }
}

/** The next lines, as many as one message surely holds. */
function partOf(lines: readonly LogLine[], from: number): readonly LogLine[] {
  let [to, bytes] = [from, 0]
  while (to < lines.length && to - from < PART_LINES_MAX && (to === from || bytes < PART_BYTES_MAX))
    bytes += lines[to++]?.bytes ?? 0
  return lines.slice(from, to)
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
