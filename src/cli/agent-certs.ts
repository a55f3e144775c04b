import { certsExport } from './agent-certs-export.ts'
import { certsRenew, certsRotateKey } from './agent-certs-renew.ts'
import { certsNeedsRenewal, certsShow } from './agent-certs-show.ts'
import { certsVerify } from './agent-certs-verify.ts'
import type { AddCommand } from './program.ts'

const COMMANDS = [
  certsShow,
  certsRenew,
  certsRotateKey,
  certsVerify,
  certsExport,
  certsNeedsRenewal,
]

/** `agent certs`: what the agent's certificates are, and whether they hold. */
export const agentCerts: AddCommand = (yargs, surroundings, done) =>
  yargs.command('certs', 'Show, renew, judge and export certificates.', (y) =>
    COMMANDS.reduce((group, add) => add(group, surroundings, done), y).demandCommand(
      1,
      'Name one of: show, renew, rotate-key, verify, export, needs-renewal.',
    ),
  )
