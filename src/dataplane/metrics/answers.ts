import type { MessageInitShape } from '@bufbuild/protobuf'
import { PosternError } from '../../base/errors.ts'
import type { TimeSeriesSchema } from '../../gen/postern/dataplane/v1/metrics_pb.js'

type TimeSeries = MessageInitShape<typeof TimeSeriesSchema>

/** Series out of an answer, and how many of them were native histograms. */
export interface Decoded {
  readonly kind: string
  readonly series: TimeSeries[]
  readonly histograms: number
}

/** Decodes what a query comes to, as untrusted as any answer. @throws BACKEND_REFUSED */
export function decodeResult(data: unknown): Decoded {
  const { resultType: kind, result } = objectOf(data)
  if (kind === 'scalar') {
    const [atMs, value] = pointOf(result)
    return { kind, series: [{ labels: {}, atMs: [atMs], values: [value] }], histograms: 0 }
  }
  if (kind !== 'vector' && kind !== 'matrix') throw odd()
  const series: TimeSeries[] = []
  let histograms = 0
  for (const one of listOf(result)) {
    const { metric, value, values } = objectOf(one)
    const points = kind === 'vector' ? (value === undefined ? [] : [value]) : listOf(values ?? [])
    if (points.length === 0) histograms++
    else {
      const decoded = points.map(pointOf)
      series.push({
        labels: labelsOf(metric),
        atMs: decoded.map(([atMs]) => atMs),
        values: decoded.map(([, number]) => number),
      })
    }
  }
  return { kind, series, histograms }
}

/** Decodes a list of sets of labels. @throws BACKEND_REFUSED */
export function decodeLabelSets(data: unknown): { labels: Record<string, string> }[] {
  return listOf(data).map((one) => ({ labels: labelsOf(one) }))
}

/** Decodes a list of texts. @throws BACKEND_REFUSED */
export function decodeTexts(data: unknown): string[] {
  return listOf(data).map((one) => {
    if (typeof one !== 'string') throw odd()
    return one
  })
}

function pointOf(point: unknown): [bigint, number] {
  const [at, value] = listOf(point)
  if (typeof at !== 'number' || typeof value !== 'string') throw odd()
  const number = value === '+Inf' ? Infinity : value === '-Inf' ? -Infinity : Number(value)
  if (!Number.isFinite(at) || (Number.isNaN(number) && value !== 'NaN')) throw odd()
  return [BigInt(Math.round(at * 1000)), number]
}

function labelsOf(value: unknown): Record<string, string> {
  const labels = objectOf(value)
  if (Object.values(labels).some((one) => typeof one !== 'string')) throw odd()
  return labels as Record<string, string>
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>
  throw odd()
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw odd()
}

function odd(): PosternError {
  return new PosternError('BACKEND_REFUSED', 'its answer is none of Prometheus')
}
