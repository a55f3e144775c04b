import type { ProofReport, SignedReport } from '../../agent/prove/prove.ts'
import { html } from '../agent-audit/agent-audit.ts'

const STYLE = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #8886}
.PASS{color:#17692f;font-weight:600}.FAIL{color:#b3261e;font-weight:700}.NOT{color:#6b5f00;font-weight:600}
@media(prefers-color-scheme:dark){.PASS{color:#7bd88f}.FAIL{color:#ff8a80}.NOT{color:#e0d080}}
code{overflow-wrap:anywhere}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px}`

/** Writes a signed report as one page, with the text that was signed at its end. */
export function proofHtml({ report, key, signature }: SignedReport): string {
  const { nonce, at, identity, program, experiments, record } = JSON.parse(report) as ProofReport
  const rows = experiments.map(
    ({ outcome, promise, evidence }) =>
      `<tr><td class="${outcome.split(' ')[0] ?? ''}">${html(outcome)}</td><th scope="row">${html(promise)}</th><td>${html(evidence)}</td></tr>`,
  )
  const count = (outcome: string): string =>
    String(experiments.filter((one) => one.outcome === outcome).length)
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>What was proven</title><style>${STYLE}</style></head><body>
<h1>What was proven</h1>
<p>${html(identity)}, ${html(program)}, at ${html(at)}<br>nonce: <code>${html(nonce === '' ? '(none)' : nonce)}</code><br>
${count('PASS')} passed, ${count('FAIL')} failed, ${count('NOT SHOWN')} not shown; record of ${html(String(record.lines))} lines, head <code>${html(record.head)}</code></p>
<table><thead><tr><th scope="col">Outcome</th><th scope="col">Promise</th><th scope="col">What was seen</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table>
<h2>Signed</h2>
<p>With audit key <code>${html(key)}</code>: <code>${html(signature)}</code></p>
<pre>${html(report)}</pre>
</body></html>
`
}
