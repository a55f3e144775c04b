import { provenText, type Summary, type SummaryRow } from '../../audit/summary.ts'
import type { Verified } from '../../audit/verify-record.ts'
import { DATA_TYPE_NAMES, type DataType } from '../../contract/data-type.ts'
import { CATALOG, mayCross } from '../../guard/catalog.ts'
import { humanBytes } from '../program/program.ts'
import { callersText, mayCrossText, NOT_COVERED } from './summary-words.ts'

const DAYS_SHOWN = 60
const CHART = { width: 360, height: 44, gap: 1 }

const STYLE = `:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--line:#d1d9e0;--bar:#0969da;--no:#cf222e;--bg:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#f0f6fc;--soft:#9198a1;--line:#3d444d;--bar:#4493f8;--no:#f85149;--bg:#0d1117}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--bg);margin:2rem auto;max-width:1100px;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}caption{text-align:left;color:var(--soft);padding:.5rem 0}
.no{color:var(--no);font-weight:600}.soft{color:var(--soft)}rect.b{fill:var(--bar)}rect.r{fill:var(--no)}svg{display:block;max-width:100%}`

/** Writes a summary as one page that needs nothing else: no script, no font, no request. */
export function summaryHtml(summary: Summary, verified: Verified, madeAt: string): string {
  const { from = '', to = '', events } = summary
  const days = [...summary.byDay.keys()].sort().slice(-DAYS_SHOWN)
  const isWhole = verified.findings.length === 0
  const rows = DATA_TYPE_NAMES.map((type) => typeRow(type, summary, days)).join('\n')
  const told = events.map(
    ({ at, event, text }) =>
      `<tr><td>${html(at)}</td><td>${html(event)}</td><td>${html(text)}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>What crossed</title><style>${STYLE}</style></head><body>
<h1>What crossed</h1>
<p>${html(from)} to ${html(to)}<br><strong${isWhole ? '' : ' class="no"'}>${html(provenText(verified))}</strong></p>
<table><caption>By type of data, with calls and refusals of each day: ${html(days[0] ?? '')} to ${html(days.at(-1) ?? '')}</caption>
<thead><tr><th scope="col">Data type</th><th scope="col">May cross</th><th scope="col" class="n">Calls</th><th scope="col" class="n">Refused</th><th scope="col" class="n">Bytes out</th><th scope="col" class="n">Bytes in</th><th scope="col">By</th><th scope="col">By day</th></tr></thead>
<tbody>
${rows}
</tbody></table>
<h2>What was done to the guard</h2>
<table><thead><tr><th scope="col">At</th><th scope="col">What</th><th scope="col">How</th></tr></thead><tbody>${told.join('\n')}</tbody></table>
<p class="soft">${html(NOT_COVERED)}<br>head ${html(verified.head)} · keys ${html(verified.keys.join(', '))} · made ${html(madeAt)}</p>
</body></html>
`
}

function typeRow(type: DataType, { byType, byDay }: Summary, days: readonly string[]): string {
  const row = byType[type]
  const bytes = (count: number): string => (mayCross(type) ? humanBytes(count) : '-')
  const cells = [
    `<th scope="row">${html(CATALOG[type].title)}</th>`,
    `<td>${html(mayCrossText(type))}</td>`,
    ...[String(row.calls), String(row.refused), bytes(row.bytesOut), bytes(row.bytesIn)].map(
      (text, index) =>
        `<td class="n${index === 1 && row.refused > 0 ? ' no' : ''}">${html(text)}</td>`,
    ),
    `<td>${html(callersText(row))}</td>`,
    `<td>${chart(
      CATALOG[type].title,
      days.map((day) => byDay.get(day)?.get(type)),
      days,
    )}</td>`,
  ]
  return `<tr>${cells.join('')}</tr>`
}

/** A bar for each day: calls, and refusals on top of them. */
function chart(
  title: string,
  rows: readonly (SummaryRow | undefined)[],
  days: readonly string[],
): string {
  const { width, height, gap } = CHART
  const most = Math.max(1, ...rows.map((row) => (row?.calls ?? 0) + (row?.refused ?? 0)))
  const step = width / Math.max(1, rows.length)
  const bars = rows.flatMap((row, index) => {
    if (row === undefined) return []
    const x = (index * step).toFixed(1)
    const wide = Math.max(1, step - gap).toFixed(1)
    const tall = (row.calls / most) * height
    const more = (row.refused / most) * height
    const said = `${days[index] ?? ''}: ${String(row.calls)} calls, ${String(row.refused)} refused`
    return [
      `<g><title>${html(said)}</title>`,
      `<rect class="b" x="${x}" y="${(height - tall).toFixed(1)}" width="${wide}" height="${tall.toFixed(1)}"/>`,
      `<rect class="r" x="${x}" y="${(height - tall - more).toFixed(1)}" width="${wide}" height="${more.toFixed(1)}"/></g>`,
    ]
  })
  if (bars.length === 0) return '<span class="soft">nothing</span>'
  return `<svg role="img" aria-label="${html(title)} by day" viewBox="0 0 ${String(width)} ${String(height)}" width="${String(width)}" height="${String(height)}">${bars.join('')}</svg>`
}

/** Returns a text as it may stand in HTML, in an attribute too. */
export function html(text: string): string {
  const safe: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return text.replace(/[&<>"']/g, (one) => safe[one] ?? one)
}
