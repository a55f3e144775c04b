import type { LookResponse_Finding as Line } from '../../gen/postern/v1/posture_pb.js'
import { html } from '../agent-audit/agent-audit.ts'
import { countText } from './posture-text.ts'

const STYLE = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #8886;overflow-wrap:anywhere}
.OK{color:#17692f;font-weight:600}.FAIL{color:#b3261e;font-weight:700}.WARN,.UNKNOWN{color:#6b5f00;font-weight:600}
@media(prefers-color-scheme:dark){.OK{color:#7bd88f}.FAIL{color:#ff8a80}.WARN,.UNKNOWN{color:#e0d080}}`

/** Writes a posture as one page. `at`: when it was looked, in ISO 8601. */
export function postureHtml(program: string, at: string, lines: readonly Line[]): string {
  const rows = lines.map(
    ({ outcome, area, subject, check, evidence }) =>
      `<tr><td class="${html(outcome)}">${html(outcome)}</td><td>${html(area)}</td><th scope="row">${html(subject)}</th><td>${html(check)}</td><td>${html(evidence)}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Posture of the ${html(program)}</title><style>${STYLE}</style></head><body>
<h1>Posture of the ${html(program)}</h1>
<p>At ${html(at)}: ${html(countText(lines))}. UNKNOWN: nothing tells, and nothing was guessed.</p>
<table><thead><tr><th scope="col">Outcome</th><th scope="col">Area</th><th scope="col">What</th><th scope="col">Check</th><th scope="col">What was seen</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table>
</body></html>
`
}
