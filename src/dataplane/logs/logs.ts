import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt'
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
import { backendFault, type FaultPorts } from '../backend-fault.ts'
import type { LogsRow } from '../logs-row.ts'
import { readCursor, writeCursor } from './cursor.ts'
import { compileFilter, Redactor, timeOf, type Re2, type Re2Pattern } from './line-rules.ts'
import type { LogLine } from './lines.ts'
import { logPath } from './log-path.ts'
import { tailFile } from './tail-file.ts'

type Response = MessageInitShape<typeof TailResponseSchema>
type Line = NonNullable<Response['lines']>[number]

/** The collaborators of the sources of logs. */
export interface LogPorts extends FaultPorts {
  readonly clock: Clock
}

/** The customer's logs: told line by line, as fast as a caller reads, filtered and redacted by expressions that no text makes slow. */
export class LogSources {
  readonly #rows: ReadonlyMap<string, LogsRow>
  readonly #ports: LogPorts

  constructor(rows: readonly LogsRow[], ports: LogPorts) {
    this.#rows = new Map(rows.map((row) => [row.name, row]))
    this.#ports = ports
  }

  /** `postern.dataplane.v1.Logs`. */
  offers(): Offer[] {
    return offersOf(Logs, { tail: (request, context) => this.#tail(request, context) })
  }

  /** What stands in the settings of each. */
  report(): { readonly name: string; readonly where: string }[] {
    return [...this.#rows.values()].map(({ name, type, directory }) => ({
      name,
      where: `${type} in ${directory}`,
    }))
  }

  async *#tail(request: TailRequest, { signal }: CallContext): AsyncGenerator<Response, void> {
    const row = this.#rows.get(request.source)
    if (row === undefined) throw rpcErrorOfCode('SOURCE_UNKNOWN', 'no source of logs has that name')
    try {
      const { RE2JS } = (await import('re2js')) as unknown as { RE2JS: Re2 }
      const picking = new Picking(
        request,
        new Redactor(RE2JS, row.redact),
        compileFilter(RE2JS, request.filter),
      )
      const path = logPath(row, request.labels)
      const steps = tailFile({
        ...{ path, signal, lineBytesMax: row.lineBytesMax, clock: this.#ports.clock },
        ...{ last: request.last, follow: request.follow, drop: request.drop },
        from: readCursor(request.cursor, path),
      })
      for await (const step of steps) {
        const cursor = writeCursor(step.place, path)
        if (step.kind !== 'lines') {
          const kind = step.kind === 'gap' ? MarkerKind.GAP : MarkerKind.DROPPED
          yield { marker: { kind, bytes: BigInt(step.bytes) }, cursor }
          continue
        }
        const lines = picking.pick(step.lines)
        // A cursor on its own, too: a filter that matches nothing for long is got past.
        yield { lines, cursor: picking.hasEnded ? '' : cursor }
        if (picking.hasEnded) return
      }
    } catch (error) {
      throw backendFault(error, `logs ${request.source}`, this.#ports)
    }
  }
}

/** Picks the lines that a caller wants to see, and are allowed to be seen. */
class Picking {
  readonly #sinceMs: number
  readonly #untilMs: number
  readonly #limit: number
  readonly #redactor: Redactor
  readonly #filter: Re2Pattern | undefined
  #told = 0
  #lastMs: number | undefined
  hasEnded = false

  constructor(
    { since, until, limit }: TailRequest,
    redactor: Redactor,
    filter: Re2Pattern | undefined,
  ) {
    this.#sinceMs = since === undefined ? Number.NEGATIVE_INFINITY : timestampMs(since)
    this.#untilMs = until === undefined ? Infinity : timestampMs(until)
    this.#limit = limit === 0n ? Infinity : Number(limit)
    this.#redactor = redactor
    this.#filter = filter
  }

  pick(lines: readonly LogLine[]): Line[] {
    const picked: Line[] = []
    for (const line of lines) {
      const ownMs = timeOf(line.text)
      this.#lastMs = ownMs ?? this.#lastMs
      const atMs = this.#lastMs
      if (atMs !== undefined && atMs >= this.#untilMs) this.hasEnded = true
      if (this.hasEnded) break
      if (atMs !== undefined && atMs < this.#sinceMs) continue
      // What is redacted cannot be found out by a filter.
      const { text, count } = this.#redactor.redact(line.text)
      if (this.#filter?.matcher(text).find() === false) continue
      const time = ownMs === undefined ? {} : { time: timestampFromMs(ownMs) }
      picked.push({ ...time, text, cut: line.isCut, redacted: count })
      if (++this.#told >= this.#limit) this.hasEnded = true
    }
    return picked
  }
}
