import { PosternError } from '../../base/errors.ts'
import { policyOf } from '../../agent/guard/guard.ts'
import type { AgentStatus_Guard } from '../../gen/postern/v1/agent_control_pb.js'
import type { BudgetSpec } from '../../guard/budget.ts'
import type { Hours } from '../../guard/hours.ts'
import type { UserRule } from '../../guard/user-rule.ts'
import type { PolicyDocument, PolicyRule } from '../../guard/rule.ts'
import { ASK_MS, askAgent } from '../place/place.ts'
import {
  command,
  humanBytes,
  JSON_OPTION,
  settingsOf,
  table,
  type Surroundings,
} from '../program/program.ts'
import { GUARD_SETTINGS } from './guard-settings.ts'

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

/** `agent policy print`: what is in force, and where each line of it comes from. */
export const policyPrint = command({
  path: 'print',
  describe:
    'Print the policy, each rule with its place. Where the daemon runs, what gateways have pushed is printed too: a call needs both.',
  settings: { table: GUARD_SETTINGS },
  options: JSON_OPTION,
  run: async (args, surroundings) => {
    const { environment, output } = surroundings
    const { values } = settingsOf(GUARD_SETTINGS, args, environment, true)
    const policy = policyOf(values)
    const running = await runningGuard(values['status.socket'], surroundings)
    if (args.json) output.result(JSON.stringify(policyJson(policy, running), null, 2))
    else output.result(policyText(policy, running))
    return 0
  },
})

/** What the daemon says of its guard; undefined where none runs. */
async function runningGuard(
  socket: string,
  surroundings: Surroundings,
): Promise<AgentStatus_Guard | undefined> {
  try {
    const status = await askAgent(socket, surroundings, (agent) =>
      agent.status({}, { timeoutMs: ASK_MS }),
    )
    return status.guard
  } catch (error) {
    // Whatever keeps it from answering: the file is printed all the same.
    if (error instanceof PosternError) return undefined
    throw error
  }
}

function policyText(policy: PolicyDocument, running: AgentStatus_Guard | undefined): string {
  const { origin, mode, observeUntilMs, sealed, gatewayRegions, callerRegions, budgets } = policy
  const lines = [
    ['policy', origin],
    ['mode', mode === 'observe' ? `observe until ${new Date(observeUntilMs).toISOString()}` : mode],
    ['gateways in', gatewayRegions.length === 0 ? 'any region' : gatewayRegions.join(', ')],
    ['callers in', callerRegions.length === 0 ? 'any region' : callerRegions.join(', ')],
    ...[...sealed].map(([type, must]) => ['sealed', `${type}: ${must ? 'required' : 'optional'}`]),
    ...[...budgets].map(([type, specs]) => ['budget', `${type}: ${budgetText(specs)}`]),
    ...policy.userIssuers.map(({ issuer, audience }) => [
      'users of',
      `${issuer}, for ${audience}${policy.usersSealed ? ', on sealed calls' : ''}`,
    ]),
    ['pushes', policy.push === 'off' ? 'not taken' : 'may narrow'],
    ...(policy.lockdown === undefined ? [] : [['lockdown', policy.lockdown]]),
    ...(running?.lockdown === undefined ? [] : [['locked down', running.lockdown]]),
    ...(running?.pushes ?? []).map(({ gateway, rules, widening }) => [
      'pushed',
      `by ${gateway}: ${String(rules)} rules${widening.length === 0 ? '' : `; would widen, which changes nothing: ${widening.join(', ')}`}`,
    ]),
  ]
  const head = lines.map(([name = '', value = '']) => `${name.padEnd(12)} ${value}`).join('\n')
  if (policy.rules.length === 0) return `${head}\n\nno rules: nothing passes but own traffic`
  const rows = policy.rules.map((rule) => [
    ...[rule.place, rule.name, rule.callers.map(({ text }) => text).join(', ')],
    ...[[...rule.methods, ...rule.services].join(', '), conditionsText(rule)],
  ])
  return `${head}\n\n${table(['PLACE', 'RULE', 'CALLERS', 'MAY USE', 'CONDITIONS'], rows)}`
}

/** Writes the conditions of a rule on one line. */
export function conditionsText(rule: PolicyRule): string {
  const parts = [
    ...(rule.types === undefined ? [] : [`types ${rule.types.join(', ')}`]),
    ...(rule.about === undefined ? [] : [`about ${rule.about.join(', ')}`]),
    ...(rule.paths.length === 0 ? [] : [`paths ${rule.paths.map(({ text }) => text).join(', ')}`]),
    ...(rule.upgrade ? ['upgrades'] : []),
    ...(rule.messageBytesMax === undefined
      ? []
      : [`messages to ${humanBytes(rule.messageBytesMax)}`]),
    ...(Object.keys(rule.budget).length === 0 ? [] : [budgetText(rule.budget)]),
    ...(rule.hours === undefined ? [] : [hoursText(rule.hours)]),
    ...(rule.sealed ? ['sealed'] : []),
    ...(rule.user === undefined ? [] : [userText(rule.user)]),
  ]
  return parts.join('; ')
}

function userText({ issuer, subjects, claims }: UserRule): string {
  const parts = [
    ...(issuer === undefined ? [] : [`of ${issuer}`]),
    ...(subjects === undefined ? [] : [`named ${subjects.join(' or ')}`]),
    ...[...claims].map(([pointer, values]) => `with ${pointer} ${values.join(' or ')}`),
  ]
  return ['a user', ...parts].join(' ')
}

function budgetText({ calls, bytes }: PolicyRule['budget']): string {
  const span = ({ periodMs }: BudgetSpec): string =>
    ({ 1000: 's', 60_000: 'min', 3_600_000: 'h', 86_400_000: 'day' })[periodMs] ?? 'span'
  return [
    ...(calls === undefined ? [] : [`${String(calls.amount)} calls/${span(calls)}`]),
    ...(bytes === undefined ? [] : [`${humanBytes(bytes.amount)}/${span(bytes)}`]),
  ].join(', ')
}

function hoursText({ days, from, to, zone }: Hours): string {
  const time = (minutes: number): string =>
    `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`
  const which = [...days].map((day) => DAYS[day] ?? '').join(' ')
  return `${which} ${time(from)} to ${time(to)} ${zone}`
}

function policyJson(policy: PolicyDocument, running: AgentStatus_Guard | undefined): object {
  return {
    ...policy,
    sealed: Object.fromEntries(policy.sealed),
    budgets: Object.fromEntries(policy.budgets),
    rules: policy.rules.map((rule) => ({
      ...rule,
      callers: rule.callers.map(({ text }) => text),
      paths: rule.paths.map(({ text }) => text),
      user: rule.user && { ...rule.user, claims: Object.fromEntries(rule.user.claims) },
      hours: rule.hours && { ...rule.hours, days: [...rule.hours.days] },
    })),
    running: running !== undefined,
    lockdown: running?.lockdown ?? policy.lockdown ?? null,
    pushes: (running?.pushes ?? []).map(({ gateway, rules, widening }) => ({
      gateway,
      rules,
      widening,
    })),
  }
}
