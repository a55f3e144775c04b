import { group } from '../program/program.ts'
import { auditExport } from './export.ts'
import { auditReconcile } from './reconcile.ts'
import { auditRotateKey } from './rotate-key.ts'
import { auditSummary } from './summary.ts'
import { auditTail } from './tail.ts'
import { auditVerify } from './verify.ts'

/** `agent audit`: the record of what crossed. */
export const agentAudit = group({
  path: 'audit',
  describe:
    'Read, verify, sum up or export the record of what crossed, or hold it against the log of a store.',
  commands: [auditTail, auditVerify, auditSummary, auditExport, auditReconcile, auditRotateKey],
})

export { proofOf, readWhole } from './place.ts'
export { html } from './summary-html.ts'
