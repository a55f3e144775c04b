import { certsExport } from './export.ts'
import { certsRenew, certsRotateKey } from './renew.ts'
import { certsNeedsRenewal, certsShow } from './show.ts'
import { certsImport } from './import.ts'
import { certsVerify } from './verify.ts'
import { group } from '../program/program.ts'

/** `agent certs`: what the agent's certificates are, and whether they hold. */
export const agentCerts = group({
  path: 'certs',
  describe: 'Show, renew, judge, export and import certificates.',
  commands: [
    certsShow,
    certsRenew,
    certsRotateKey,
    certsVerify,
    certsExport,
    certsImport,
    certsNeedsRenewal,
  ],
})
