import { group } from '../program/program.ts'
import { policyCheck } from './policy-check.ts'
import { policyPrint } from './policy-print.ts'
import { policyTest } from './policy-test.ts'

/** `agent policy`: what may cross. */
export const agentPolicy = group({
  path: 'policy',
  describe: 'Print, test or check the policy: what may cross.',
  commands: [policyPrint, policyTest, policyCheck],
})

export { agentLockdown } from './lockdown.ts'
export { agentSeal } from './seal.ts'
