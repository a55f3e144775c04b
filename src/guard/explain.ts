import type { Ask, HttpAsk } from '../contract/call-guard.ts'
import type { BudgetSpec } from './budget.ts'
import { hardDenials } from './hard-rules.ts'
import { matchesCaller } from './pattern.ts'
import { knownCaller, type Moment, type Policy, type Why } from './policy.ts'
import { allowsType, speaksOf, type PolicyDocument, type PolicyRule } from './rule.ts'

/** What would become of a call, and why. */
export interface Explanation {
  readonly isAllowed: boolean
  /** The rule that allows it, or would but for what stands against it. */
  readonly rule: PolicyRule | undefined
  /** Why no rule allows it. */
  readonly why: Why | undefined
  /** Everything beside the rules that stands against it. */
  readonly against: readonly string[]
  /** The rule that misses it by the least, and what it misses. */
  readonly nearest: { readonly rule: PolicyRule; readonly miss: string } | undefined
  /** Budgets that the call draws on, each with what is left. */
  readonly budgets: readonly {
    readonly name: string
    readonly left: number
    readonly spec: BudgetSpec
  }[]
}

const MISSES: Readonly<Record<Why, string>> = {
  'no rule': 'allows other methods or services',
  type: 'allows other types of data',
  unnamed: 'allows it by a wildcard, and this type must be named',
  path: 'allows other paths',
  upgrade: 'allows no upgrade of the connection',
  sealed: 'wants a sealed call',
  user: 'wants the token of a user that it takes',
  hours: 'allows it at other times',
  budget: 'has its budget used up',
}

/** Says what would become of a call that is made now, without letting it pass. */
export function explain(
  policy: Policy,
  lockdown: string | undefined,
  ask: Ask,
  moment: Moment,
  http?: HttpAsk,
): Explanation {
  const { document, budgets } = policy
  const state = { policy: document, lockdown, mayGoOn: true }
  const against = hardDenials(ask, state).map(({ text }) => text)
  const verdict = policy.judge(ask, moment, http)
  const { rule } = verdict
  const type = ask.data?.carries
  const drawn = rule === undefined ? [] : [`rule ${rule.name} `, `type ${type ?? ''} `]
  return {
    isAllowed: rule !== undefined && against.length === 0,
    rule,
    why: verdict.rule === undefined ? verdict.why : undefined,
    against,
    nearest: verdict.rule === undefined ? nearestOf(verdict, document, ask) : undefined,
    budgets: budgets
      .left(moment.nowMs)
      .filter(({ name }) => drawn.some((start) => name.startsWith(start))),
  }
}

function nearestOf(
  { why, nearest }: { readonly why: Why; readonly nearest: PolicyRule | undefined },
  { rules }: PolicyDocument,
  ask: Ask,
): Explanation['nearest'] {
  if (nearest !== undefined) return { rule: nearest, miss: MISSES[why] }
  const caller = knownCaller(ask.caller)
  if (caller === undefined) return undefined
  const type = ask.data?.carries
  // Of the same type first: the name is then what is missing.
  const forCaller = rules.filter(({ callers }) => callers.some((one) => matchesCaller(one, caller)))
  const rule =
    forCaller.find((one) => type === undefined || allowsType(one, type, ask)) ?? forCaller[0]
  if (rule !== undefined) return { rule, miss: MISSES['no rule'] }
  const forOthers = rules.find((one) =>
    one.callers.some(({ name, known = 'gateway' }) => speaksOf(one, { name, known }, ask)),
  )
  return forOthers && { rule: forOthers, miss: 'allows it to other callers' }
}
