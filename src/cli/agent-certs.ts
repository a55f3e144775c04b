import { certsExport } from './agent-certs-export.ts'
import { certsRenew, certsRotateKey } from './agent-certs-renew.ts'
import { certsNeedsRenewal, certsShow } from './agent-certs-show.ts'
import { certsImport } from './agent-certs-import.ts'
import { certsVerify } from './agent-certs-verify.ts'
import type { AddCommand } from './program.ts'

const COMMANDS = [
  certsShow,
  certsRenew,
  certsRotateKey,
  certsVerify,
  certsExport,
  certsImport,
  certsNeedsRenewal,
]

/** `agent certs`: what the agent's certificates are, and whether they hold. */
export const agentCerts: AddCommand = (yargs, surroundings, done) =>
  yargs.command('certs', 'Show, renew, judge, export and import certificates.', (y) =>
    COMMANDS.reduce((group, add) => add(group, surroundings, done), y).demandCommand(
      1,
      'Name one of: show, renew, rotate-key, verify, export, import, needs-renewal.',
    ),
  )
