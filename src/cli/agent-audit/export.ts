import { csvHeader, csvLine, otelLogs } from '../../audit/export-record.ts'
import { command } from '../program/program.ts'
import {
  momentOf,
  placeOf,
  PROOF_OPTIONS,
  proofOf,
  readWhole,
  RECORD_OPTIONS,
  SPAN_OPTIONS,
} from './place.ts'

const FORMATS = ['jsonl', 'csv', 'otel'] as const
const OTEL_LINES = 500

/** `agent audit export`: the record for other tools. */
export const auditExport = command({
  path: 'export',
  describe:
    'Write the lines of the record for other tools: JSON Lines, CSV, or logs of OpenTelemetry (OTLP in JSON, so many a line). Exit 1: the record is not whole; what could be read is written all the same.',
  options: {
    ...RECORD_OPTIONS,
    ...PROOF_OPTIONS,
    ...SPAN_OPTIONS,
    format: { type: 'string', choices: FORMATS, default: 'jsonl', describe: 'Of the lines.' },
  },
  examples: [['$0 audit export --since 24h --format csv > crossed.csv', 'the last day']],
  run: async (args, surroundings) => {
    const { output } = surroundings
    const { clock } = surroundings.ambient('error', 'audit')
    const nowMs = clock.wallMs()
    const place = placeOf(args, surroundings)
    const sinceMs = momentOf(args.since, nowMs, 0)
    const untilMs = momentOf(args.until, nowMs, Infinity)
    const batch: Readonly<Record<string, unknown>>[] = []
    if (args.format === 'csv') output.result(csvHeader())
    const verified = await readWhole(place.directory, proofOf(args, place), clock, (line) => {
      const atMs = typeof line.at === 'string' ? Date.parse(line.at) : 0
      if (atMs < sinceMs || atMs >= untilMs) return
      if (args.format === 'csv') output.result(csvLine(line))
      else if (args.format === 'jsonl') output.result(JSON.stringify(line))
      else if (batch.push(line) === OTEL_LINES)
        output.result(otelLogs(batch.splice(0), place.directory))
    })
    if (batch.length > 0) output.result(otelLogs(batch, verified.identity))
    const { findings } = verified
    if (findings.length === 0) return 0
    output.note(
      `agent: the record is not whole: ${String(findings.length)} findings; see agent audit verify`,
    )
    return 1
  },
})
