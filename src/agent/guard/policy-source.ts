import { PosternError } from '../../base/errors.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { loadPolicy } from '../../config/policy-file.ts'
import { isRegionAllowed, regionTitle } from '../../guard/regions.ts'
import type { Identity } from '../../identity/name.ts'
import { isMethodPattern, readCallerPattern } from '../../guard/pattern.ts'
import { EMPTY_POLICY, rule, type PolicyDocument, type PolicyRule } from '../../guard/rule.ts'

type Source = Pick<AgentSettings, 'allow' | 'policy.file'>

/** Reads the customer's policy: from its own file, or else from `allow`. @throws CONFIG_INVALID, CONFIG_UNREADABLE */
export function policyOf(settings: Source): PolicyDocument {
  const { allow, 'policy.file': file } = settings
  if (file !== undefined) {
    if (allow.length > 0)
      throw new PosternError(
        'CONFIG_INVALID',
        'allow and policy.file both say who may use what: keep one',
      )
    return loadPolicy(file)
  }
  if (allow.length === 0) return EMPTY_POLICY
  return { ...EMPTY_POLICY, origin: 'allow', rules: allow.map(ruleOf) }
}

/** Makes the rule of a policy on the regions of gateways: why one is refused, or undefined. */
export function regionRule({
  gatewayRegions,
}: Pick<PolicyDocument, 'gatewayRegions'>): (identity: Identity) => PosternError | undefined {
  return (identity) => {
    const region = identity.role === 'gateway' ? identity.region : ''
    if (isRegionAllowed(gatewayRegions, region)) return undefined
    const text = `the gateway is in ${regionTitle(region)}; the policy allows ${gatewayRegions.join(', ')}`
    return new PosternError('REGION_REFUSED', text)
  }
}

function ruleOf(row: AgentSettings['allow'][number], index: number): PolicyRule {
  const name = `allow, entry ${String(index + 1)}`
  const bad = row.methods.find((pattern) => !isMethodPattern(pattern))
  if (bad !== undefined) {
    const text = `allow: ${JSON.stringify(bad)} is not package.Service/Method, package.Service/* or *`
    throw new PosternError('CONFIG_INVALID', text)
  }
  const callers = [readCallerPattern(row.caller)].filter((one) => one !== undefined)
  return rule({ name, place: name, callers, methods: row.methods, services: row.services })
}
