import { certsExport } from './export.ts'
import { certsRenew, certsRotateKey } from './renew.ts'
import { certsNeedsRenewal, certsShow } from './show.ts'
import { certsImport } from './import.ts'
import { certsVerify } from './verify.ts'
import type { AddCommand } from '../program/program.ts'

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
