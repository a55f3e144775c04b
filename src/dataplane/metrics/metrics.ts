import { timestampMs, type Timestamp } from '@bufbuild/protobuf/wkt'
import type { Clock } from '../../base/clock.ts'
import { Metrics, type SelectRequest } from '../../gen/postern/dataplane/v1/metrics_pb.js'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import { offersOf } from '../../rpc/typed.ts'
import { useBackend, type FaultPorts } from '../backend-use.ts'
import type { ClickhouseRow } from '../clickhouse-row.ts'
import type { PrometheusRow } from '../prometheus-row.ts'
import { decodeLabelSets, decodeResult, decodeTexts } from './answers.ts'
import { askPrometheus, type ApiCall } from './prometheus-api.ts'
import type { Selected } from './clickhouse.ts'
import { Promql } from './promql.ts'

const MATCHES_MAX = 20
const QUERY_ID_BYTES = 16
const LABEL = /^[\p{L}_][\p{L}\p{N}_.:-]{0,127}$/u

/** The collaborators of the sources of metrics. */
export interface MetricPorts extends FaultPorts {
  readonly clock: Pick<Clock, 'nowMs' | 'wallMs'>
}

interface Span {
  readonly start?: Timestamp | undefined
  readonly end?: Timestamp | undefined
}

interface Asking {
  readonly promql: Promql
  readonly row: PrometheusRow
  readonly ask: (path: string, parameters: ApiCall['parameters']) => Promise<unknown>
}

/** The customer's sources of metrics: passes on queries that it has judged and written anew, and what comes back. */
export class MetricSources {
  readonly #rows: ReadonlyMap<string, PrometheusRow>
  readonly #clickhouse: ReadonlyMap<string, ClickhouseRow>
  readonly #ports: MetricPorts

  constructor(
    rows: readonly PrometheusRow[],
    ports: MetricPorts,
    clickhouse: readonly ClickhouseRow[] = [],
  ) {
    this.#rows = new Map(rows.map((row) => [row.name, row]))
    this.#clickhouse = new Map(clickhouse.map((row) => [row.name, row]))
    this.#ports = ports
  }

  /** `postern.dataplane.v1.Metrics`. */
  offers(): Offer[] {
    return offersOf(Metrics, {
      query: (request, context) =>
        this.#run(request.source, context, async ({ promql, ask }) => {
          const atMs =
            request.time === undefined ? this.#ports.clock.wallMs() : timestampMs(request.time)
          const query = promql.query(request.query)
          const data = await ask('query', [
            ['query', query],
            ['time', seconds(atMs)],
          ])
          const { kind, series, histograms } = decodeResult(data)
          return { kind, series, histogramsLeftOut: histograms }
        }),
      queryRange: (request, context) =>
        this.#run(request.source, context, async ({ promql, row, ask }) => {
          const [startMs, endMs] = spanOf(request, row)
          const { stepMs } = request
          const points = Math.floor((endMs - startMs) / stepMs) + 1
          if (stepMs === 0 || points > row.pointsMax)
            throw refused(
              `a range has ${String(row.pointsMax)} moments at most: step_ms must be longer`,
            )
          const query = promql.query(request.query)
          const data = await ask('query_range', [
            ...([
              ['query', query],
              ['start', seconds(startMs)],
              ['end', seconds(endMs)],
            ] as const),
            ['step', seconds(stepMs)],
          ])
          const { series, histograms } = decodeResult(data)
          return { series, histogramsLeftOut: histograms }
        }),
      series: (request, context) =>
        this.#run(request.source, context, async ({ promql, row, ask }) => {
          if (request.match.length === 0) throw refused('name a match at least')
          const matches = matchesOf(request.match, promql)
          return {
            series: decodeLabelSets(await ask('series', [...matches, ...times(request, row)])),
          }
        }),
      labels: (request, context) =>
        this.#run(request.source, context, async ({ promql, row, ask }) => {
          const { label } = request
          if (label !== '' && !LABEL.test(label)) throw refused('label is no name of one')
          const path = label === '' ? 'labels' : `label/${encodeURIComponent(label)}/values`
          const all = request.match.length === 0 ? undefined : matchesOf(request.match, promql)
          const matches = all ?? [['match[]', promql.everything()] as const]
          return { values: decodeTexts(await ask(path, [...matches, ...times(request, row)])) }
        }),
      select: (request, context) => this.#select(request, context),
    })
  }

  async #select(
    { source, query: name, parameters }: SelectRequest,
    { signal, deadlineAtMs }: CallContext,
  ): Promise<Selected> {
    const row = this.#clickhouse.get(source)
    if (row === undefined) throw rpcErrorOfCode('SOURCE_UNKNOWN', 'no ClickHouse has that name')
    const query = row.queries.find((one) => one.name === name)
    if (query === undefined)
      throw rpcErrorOfCode('QUERY_REFUSED', 'the query: the settings list none of that name')
    return await useBackend({ setting: 'clickhouse', name: source }, this.#ports, async () => {
      const { selectNamed } = await import('./clickhouse.ts')
      const leftMs = (deadlineAtMs ?? Infinity) - this.#ports.clock.nowMs()
      const queryId = `postern-${this.#ports.random.hex(QUERY_ID_BYTES)}`
      return await selectNamed(row, query, parameters, { leftMs, signal, queryId })
    })
  }

  report(): { readonly name: string; readonly url: string }[] {
    return [...this.#rows.values()].map(({ name, url }) => ({ name, url: url.origin }))
  }

  async #run<T>(
    name: string,
    { signal, deadlineAtMs }: CallContext,
    act: (asking: Asking) => Promise<T>,
  ): Promise<T> {
    const row = this.#rows.get(name)
    if (row === undefined)
      throw rpcErrorOfCode('SOURCE_UNKNOWN', 'no source of metrics has that name')
    return await useBackend({ setting: 'prometheus', name }, this.#ports, async () => {
      const { parser } = await import('@prometheus-io/lezer-promql')
      const leftMs = (deadlineAtMs ?? Infinity) - this.#ports.clock.nowMs()
      const ask: Asking['ask'] = (path, parameters) =>
        askPrometheus(row, { path, parameters, leftMs, signal })
      return await act({ promql: new Promql(parser, row), row, ask })
    })
  }
}

function matchesOf(matches: readonly string[], promql: Promql): (readonly [string, string])[] {
  if (matches.length > MATCHES_MAX) throw refused(`at most ${String(MATCHES_MAX)} matches`)
  return matches.map((one) => ['match[]', promql.selector(one)] as const)
}

function times(span: Span, row: PrometheusRow): (readonly [string, string])[] {
  if (span.start === undefined && span.end === undefined) return []
  const [startMs, endMs] = spanOf(span, row)
  return [
    ['start', seconds(startMs)],
    ['end', seconds(endMs)],
  ]
}

/** @throws RpcError QUERY_REFUSED */
function spanOf({ start, end }: Span, { rangeMaxMs }: PrometheusRow): readonly [number, number] {
  if (start === undefined || end === undefined) throw refused('start and end go together')
  const [startMs, endMs] = [timestampMs(start), timestampMs(end)]
  if (!(startMs <= endMs)) throw refused('start is behind end')
  if (endMs - startMs > rangeMaxMs) throw refused('the range is longer than the settings allow')
  return [startMs, endMs]
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3)
}

function refused(why: string): Error {
  return rpcErrorOfCode('QUERY_REFUSED', `the query: ${why}`)
}
