import { writeFileSync } from 'node:fs'
import type { Experiment, ProofOutcome } from '../../agent/prove/prove.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { PosternError } from '../../base/errors.ts'
import { command, JSON_OPTION, settingsOf, type Output } from '../program/program.ts'
import { withPassphrase, withProxy } from '../daemon/daemon.ts'
import { experiments } from './experiments.ts'
import { signedReport } from './sign.ts'
import { proofHtml } from './proof-html.ts'

const FAILED = 1
const NONCE_MAX = 200
const MARKER_BYTES = 24
const FOR_OWNER = 0o600
const WIDTHS: Readonly<Record<ProofOutcome, string>> = {
  PASS: 'PASS     ',
  FAIL: 'FAIL     ',
  'NOT SHOWN': 'NOT SHOWN',
}

/** `agent prove`: each promise's experiment, on the live installation. */
export const agentProve = command({
  path: 'prove',
  describe:
    "Make the experiment of each promise on this installation, and print PASS, FAIL or NOT SHOWN with what was seen. It needs the running daemon, and its user or root. The report is signed with the audit key over the reviewer's nonce; tools/verify_record.py --report checks it. Exit 1: a promise does not hold. docs/SECURITY-MODEL.md says what each covers, and what it does not.",
  settings: { table: AGENT_SETTINGS },
  options: {
    nonce: {
      type: 'string',
      default: '',
      describe: "A text of the reviewer's, so that an old report cannot pass for a new one.",
    },
    all: {
      type: 'boolean',
      default: false,
      describe: 'Also what disturbs service: a lockdown, which ends all calls, and its lifting.',
    },
    out: { type: 'string', describe: 'Write the signed report to this file.' },
    html: { type: 'string', describe: 'Write it to this file as one page, for people.' },
    ...JSON_OPTION,
  },
  examples: [['$0 prove --nonce 7c1f --out proof.json', 'a report for a reviewer who said 7c1f']],
  run: async (args, surroundings) => {
    const { nonce, all, out, html, json } = args
    if (nonce.length > NONCE_MAX)
      throw new PosternError('USAGE', `--nonce has at most ${String(NONCE_MAX)} characters`)
    const { environment, output } = surroundings
    const loaded = settingsOf(AGENT_SETTINGS, args, environment)
    const settings = withProxy(withPassphrase(loaded.values, environment), environment)
    const { random } = surroundings.ambient('error', 'prove')
    const marker = `postern-proof-${random.hex(MARKER_BYTES)}`
    const found: Experiment[] = []
    for await (const one of experiments({ settings, surroundings, marker, all })) {
      found.push(one)
      if (!json) print(one, output)
    }
    const signed = await signedReport(settings, surroundings, nonce, found)
    if (out !== undefined)
      writeFileSync(out, `${JSON.stringify(signed, null, 2)}\n`, { mode: FOR_OWNER })
    if (html !== undefined) writeFileSync(html, proofHtml(signed), { mode: FOR_OWNER })
    if (json) output.result(JSON.stringify(signed, null, 2))
    else {
      const where = out === undefined ? '' : `: ${out}`
      output.result(
        `signed with audit key ${signed.key.slice(0, 16)}…${where}; check with tools/verify_record.py --report`,
      )
    }
    return found.some(({ outcome }) => outcome === 'FAIL') ? FAILED : 0
  },
})

function print({ outcome, promise, evidence }: Experiment, output: Output): void {
  output.result(`${WIDTHS[outcome]}  ${promise}: ${evidence}`)
}
