import { basename } from 'node:path'
import { problemText, readPolicy, readPolicyText } from '../../config/policy-file.ts'
import { command, JSON_OPTION } from '../program/program.ts'

const INVALID = 78

/** `agent policy check`: every mistake of a policy, and every rule that does nothing. */
export const policyCheck = command({
  path: 'check <file>',
  describe:
    'Say every mistake of a policy file, with line and column; rules that are never reached, or never match, are warnings. Exit 78: it would not be taken.',
  options: {
    file: { type: 'string', required: true, describe: 'The policy.' },
    push: {
      type: 'boolean',
      default: false,
      describe: 'It is one that a gateway pushes: rules alone.',
    },
    ...JSON_OPTION,
  },
  examples: [['$0 policy check /etc/postern/policy.yaml', 'before it is put in place']],
  run: ({ file, push, json }, { output }) => {
    const name = basename(file)
    const { document, problems } = readPolicy(readPolicyText(file), name, push)
    if (json) output.result(JSON.stringify({ valid: document !== undefined, problems }, null, 2))
    else
      for (const problem of problems) {
        const text = problemText(name, problem)
        if (problem.severity === 'error') output.note(text)
        else output.result(text)
      }
    if (document === undefined) return INVALID
    if (!json) output.result(`${name} is in order: ${String(document.rules.length)} rules`)
    return 0
  },
})
