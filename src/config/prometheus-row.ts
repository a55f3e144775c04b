import type { PrometheusRow } from '../dataplane/prometheus-row.ts'
import { backendUrl } from './backend-url.ts'
import { nameField, trustFields, within, type Row } from './row-fields.ts'
import { parseBytes, parseDuration, rowFields } from './setting.ts'

const FIELDS = [
  ...['name', 'url', 'plaintext', 'caFile', 'certificateFile', 'keyFile', 'tokenFile', 'metrics'],
  ...['labels', 'rangeMax', 'pointsMax', 'bytesMax', 'timeout'],
]
const PATTERN = /^(?:[^\s*]{1,255}\*?|\*)$/
const YEAR_MS = 366 * 86_400_000
const MIB = 1024 ** 2

/** Reads one row of `prometheus`. Throws a plain Error for the loader to place. */
export function readPrometheus(row: Row): PrometheusRow {
  rowFields(row, FIELDS)
  const name = nameField(row)
  try {
    return {
      ...{ name, ...trustFields(row) },
      url: backendUrl(row),
      metrics: readPatterns(row.metrics),
      labels: readLabels(row.labels),
      rangeMaxMs: within(
        parseDuration(row.rangeMax ?? '31d'),
        1000,
        YEAR_MS,
        'rangeMax',
        '1s to 366d',
      ),
      pointsMax: within(Number(row.pointsMax ?? 11_000), 1, 100_000, 'pointsMax', '1 to 100000'),
      bytesMax: within(
        parseBytes(row.bytesMax ?? '4MiB'),
        1024,
        64 * MIB,
        'bytesMax',
        '1KiB to 64MiB',
      ),
      timeoutMs: within(parseDuration(row.timeout ?? '30s'), 1000, 600_000, 'timeout', '1s to 10m'),
    }
  } catch (error) {
    throw new Error(`source ${name}: ${(error as Error).message}`, { cause: error })
  }
}

function readPatterns(value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : []
  const patterns = list.filter((one) => typeof one === 'string' && PATTERN.test(one))
  if (list.length > 0 && patterns.length === list.length) return patterns as string[]
  throw new Error(
    'metrics must list the names that may be asked for, with a star at their end for any end',
  )
}

function readLabels(value: unknown): ReadonlyMap<string, readonly string[]> {
  const form = 'labels must say which values a label must have, such as { namespace: [team-a] }'
  if (value === undefined) return new Map()
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(form)
  return new Map(
    Object.entries(value as Row).map(([label, values]) => {
      const isGood = Array.isArray(values) && values.length > 0 && label !== '__name__'
      if (!isGood || !values.every((one) => typeof one === 'string')) throw new Error(form)
      return [label, values] as const
    }),
  )
}

/** Formats the row of a source for display. */
export function showPrometheus({ url, labels, ...row }: PrometheusRow): object {
  return { ...row, url: url.href, labels: Object.fromEntries(labels) }
}
