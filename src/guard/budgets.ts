import type { DataType } from '../contract/data-type.ts'
import { Budget, type BudgetSpec, type SpentSlots } from './budget.ts'
import type { BudgetSpecs, PolicyDocument, PolicyRule } from './rule.ts'

interface Pair {
  readonly calls: Budget | undefined
  readonly bytes: Budget | undefined
}

/** What all budgets have spent, by "rule NAME calls", "type NAME bytes". */
export type SpentBudgets = Readonly<Record<string, SpentSlots>>

/** The budgets of a policy: of its rules, and of types of data over all rules. */
export class Budgets {
  readonly #rules = new Map<string, Pair>()
  readonly #types = new Map<DataType, Pair>()
  readonly #all = new Map<string, Budget>()

  /** `spent`: by an earlier policy, or before a restart; what has the same name goes on from there. */
  constructor(document: PolicyDocument, nowMs: number, spent: SpentBudgets = {}) {
    const make = (name: string, spec: BudgetSpec | undefined): Budget | undefined => {
      if (spec === undefined) return undefined
      const budget = new Budget(spec, nowMs, spent[name])
      this.#all.set(name, budget)
      return budget
    }
    const pair = (name: string, { calls, bytes }: BudgetSpecs): Pair => ({
      calls: make(`${name} calls`, calls),
      bytes: make(`${name} bytes`, bytes),
    })
    for (const { name, budget } of document.rules)
      if (budget.calls !== undefined || budget.bytes !== undefined)
        this.#rules.set(name, pair(`rule ${name}`, budget))
    for (const [type, specs] of document.budgets) this.#types.set(type, pair(`type ${type}`, specs))
  }

  /** Whether one more call, and any byte of it, has room in the budgets of a rule and a type. */
  hasLeft(rule: PolicyRule, type: DataType | undefined, nowMs: number): boolean {
    if (this.#all.size === 0) return true
    return this.#pairs(rule, type).every(
      ({ calls, bytes }) =>
        (calls === undefined || calls.left(nowMs) >= 1) &&
        (bytes === undefined || bytes.left(nowMs) > 0),
    )
  }

  /** Counts a call that was let through. */
  spendCall(rule: PolicyRule, type: DataType | undefined, nowMs: number): void {
    if (this.#all.size === 0) return
    for (const { calls } of this.#pairs(rule, type)) calls?.spend(1, nowMs)
  }

  /** The budgets for bytes that a call draws on; empty for most. */
  bytesOf(rule: PolicyRule, type: DataType | undefined): readonly Budget[] {
    if (this.#all.size === 0) return NO_BUDGETS
    return this.#pairs(rule, type).flatMap(({ bytes }) => (bytes === undefined ? [] : [bytes]))
  }

  /** What is left of each, for people. */
  left(
    nowMs: number,
  ): { readonly name: string; readonly left: number; readonly spec: BudgetSpec }[] {
    return [...this.#all].map(([name, budget]) => ({
      name,
      left: budget.left(nowMs),
      spec: budget.spec,
    }))
  }

  /** What all have spent, to be kept over a restart. */
  spent(nowMs: number): SpentBudgets {
    return Object.fromEntries([...this.#all].map(([name, budget]) => [name, budget.spent(nowMs)]))
  }

  #pairs({ name }: PolicyRule, type: DataType | undefined): readonly Pair[] {
    if (this.#all.size === 0) return NONE
    const pairs = [this.#rules.get(name), type === undefined ? undefined : this.#types.get(type)]
    return pairs.filter((pair) => pair !== undefined)
  }
}

const NONE: readonly Pair[] = []
const NO_BUDGETS: readonly Budget[] = []

/** Reads what budgets had spent, as it was kept; what is not of that form counts as nothing. */
export function readSpent(value: unknown): SpentBudgets {
  if (typeof value !== 'object' || value === null) return {}
  const isSlots = (slots: unknown): slots is SpentSlots =>
    Array.isArray(slots) && slots.every((one) => typeof one === 'number' && one >= 0)
  return Object.fromEntries(Object.entries(value).filter(([, slots]) => isSlots(slots)))
}
