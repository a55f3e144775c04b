import { writeFileSync } from 'node:fs'
import { provenText, Summing, type Summary, type SummaryRow } from '../../audit/summary.ts'
import type { Verified } from '../../audit/verify-record.ts'
import { DATA_TYPE_NAMES } from '../../contract/data-type.ts'
import { CATALOG, mayCross } from '../../guard/catalog.ts'
import { command, humanBytes, JSON_OPTION, table } from '../program/program.ts'
import {
  momentOf,
  placeOf,
  PROOF_OPTIONS,
  proofOf,
  readWhole,
  RECORD_OPTIONS,
  SPAN_OPTIONS,
} from './place.ts'
import { summaryHtml } from './summary-html.ts'
import { callersText, mayCrossText, NOT_COVERED } from './summary-words.ts'

/** `agent audit summary`: the page that a reviewer wants. */
export const auditSummary = command({
  path: 'summary',
  describe:
    'Sum up what crossed: the table of data types with what the record says of each, by caller; and whether the record is whole.',
  options: {
    ...RECORD_OPTIONS,
    ...PROOF_OPTIONS,
    ...SPAN_OPTIONS,
    html: {
      type: 'string',
      describe: 'Write it to this file as one page, with a chart of each type by day.',
    },
    ...JSON_OPTION,
  },
  examples: [['$0 audit summary --since 30d', 'what crossed in the last thirty days']],
  run: async (args, surroundings) => {
    const { clock } = surroundings.ambient('error', 'audit')
    const nowMs = clock.wallMs()
    const place = placeOf(args, surroundings)
    const span = [momentOf(args.since, nowMs, 0), momentOf(args.until, nowMs, Infinity)] as const
    const summing = new Summing(...span)
    const verified = await readWhole(place.directory, proofOf(args, place), clock, (line) => {
      summing.add(line)
    })
    const summary = summing.end()
    const { output } = surroundings
    if (args.html !== undefined) {
      writeFileSync(args.html, summaryHtml(summary, verified, new Date(nowMs).toISOString()))
      if (!args.json) output.result(`written: ${args.html}`)
    }
    if (args.json) output.result(JSON.stringify(summaryJson(summary, verified), null, 2))
    else if (args.html === undefined) output.result(summaryText(summary, verified))
    return verified.findings.length === 0 ? 0 : 1
  },
})

function summaryText(summary: Summary, verified: Verified): string {
  const { from, to, byType, refusedUntyped, events } = summary
  const span = from === undefined ? 'nothing crossed' : `what crossed, ${from} to ${to ?? ''}`
  const rows = DATA_TYPE_NAMES.map((type) => {
    const row = byType[type]
    const bytes = (count: number): string => (mayCross(type) ? humanBytes(count) : '-')
    return [
      ...[CATALOG[type].title, mayCrossText(type), String(row.calls), String(row.refused)],
      ...[bytes(row.bytesOut), bytes(row.bytesIn), callersText(row)],
    ]
  })
  const header = ['DATA TYPE', 'MAY CROSS', 'CALLS', 'REFUSED', 'BYTES OUT', 'BYTES IN', 'BY']
  const parts = [`${span} · ${provenText(verified)}`, '', table(header, rows)]
  if (refusedUntyped > 0)
    parts.push(`${String(refusedUntyped)} calls of what is not offered were refused, too`)
  const told = events.filter(({ event }) => event !== 'policy')
  for (const { at, event, text } of told.slice(-5)) parts.push(`${at} ${event}: ${text}`)
  parts.push(NOT_COVERED)
  return parts.join('\n')
}

function summaryJson({ byType, byDay, ...summary }: Summary, verified: Verified): object {
  const plain = ({ callers, ...row }: SummaryRow): object => ({
    ...row,
    callers: Object.fromEntries(callers),
  })
  return {
    ...summary,
    types: DATA_TYPE_NAMES.map((type) => ({
      type,
      title: CATALOG[type].title,
      mayCross: mayCrossText(type),
      ...plain(byType[type]),
    })),
    days: [...byDay].map(([day, types]) => ({
      day,
      types: [...types].map(([type, row]) => ({ type, ...plain(row) })),
    })),
    record: { whole: verified.findings.length === 0, ...verified },
  }
}
