import { PosternError, type ErrorCode } from '../base/errors.ts'
import { DATA_TYPES, NAMED_ONLY, type DataType } from '../wire/data-type.ts'

/** One line of `allow:` in the agent's file. */
export interface AllowRule {
  /** A caller's name, or "*" for every caller that the gateway verified. */
  readonly caller: string
  /** "package.Service/Method", "package.Service/*" or "*". */
  readonly methods: readonly string[]
  /** Names of services, or "*". */
  readonly services: readonly string[]
}

/** One call or forward that asks to pass. */
export interface Crossing {
  readonly caller: string
  readonly name: string
  readonly isForward: boolean
  /** What the caller declared, or undefined. */
  readonly dataType: DataType | undefined
  /** What the agent's offer declares; undefined where it offers nothing of that name. */
  readonly offeredDataType: DataType | undefined
}

/** The code and text that a stream is refused with. */
export interface Refusal {
  readonly code: ErrorCode
  readonly text: string
}

const METHOD_PATTERN = /^(\*|[A-Za-z_][\w.]*\/(\*|[A-Za-z_]\w*))$/
const DECISIONS_MAX = 10_000

/**
 * The customer's decision on what may cross: whatever no rule allows is refused. It stands before
 * every handler and every forward.
 */
export class Policy {
  #rules: readonly AllowRule[] = []
  readonly #decisions = new Map<string, boolean>()
  allowed = 0
  denied = 0

  /** @throws CONFIG_INVALID for a pattern that could never match */
  constructor(rules: readonly AllowRule[]) {
    this.use(rules)
  }

  /** Other rules, from the next call on. @throws CONFIG_INVALID, and the rules stay */
  use(rules: readonly AllowRule[]): void {
    for (const rule of rules) {
      const bad = rule.methods.find((pattern) => !METHOD_PATTERN.test(pattern))
      if (bad === undefined) continue
      const text = `allow: ${JSON.stringify(bad)} is not package.Service/Method, package.Service/* or *`
      throw new PosternError('CONFIG_INVALID', text)
    }
    this.#rules = rules
    this.#decisions.clear()
  }

  /** Undefined: allowed. */
  decide(crossing: Crossing): Refusal | undefined {
    const refusal = this.#refusal(crossing)
    if (refusal === undefined) this.allowed++
    else this.denied++
    return refusal
  }

  #refusal(crossing: Crossing): Refusal | undefined {
    const { caller, name, dataType, offeredDataType } = crossing
    if (!this.#isListed(crossing)) {
      return {
        code: 'POLICY_DENIED',
        text: `${caller === '' ? 'this caller' : caller} may not use ${name}`,
      }
    }
    if (!this.#isNamedEnough(crossing)) {
      const text = `${name} carries ${String(offeredDataType)}, which "*" allows to nobody: the rule must name it`
      return { code: 'POLICY_DENIED', text }
    }
    if (offeredDataType === undefined) return undefined
    if (DATA_TYPES[offeredDataType].crosses === 'never') {
      return { code: 'POLICY_DENIED', text: `${offeredDataType} never crosses the tunnel` }
    }
    if (dataType === undefined || dataType === offeredDataType) return undefined
    return { code: 'POLICY_DENIED', text: `${name} carries ${offeredDataType}, not ${dataType}` }
  }

  /** What nobody can classify is allowed by name alone. */
  #isNamedEnough({ caller, name, isForward, offeredDataType }: Crossing): boolean {
    if (offeredDataType === undefined || !NAMED_ONLY.includes(offeredDataType)) return true
    return this.#rules.some(
      (rule) =>
        (rule.caller === '*' || rule.caller === caller) &&
        (isForward ? rule.services : rule.methods).includes(name),
    )
  }

  #isListed({ caller, name, isForward }: Crossing): boolean {
    const key = `${isForward ? 'forward' : 'call'} ${caller} ${name}`
    const known = this.#decisions.get(key)
    if (known !== undefined) return known
    const isListed = this.#rules.some(
      (rule) =>
        (rule.caller === '*' || rule.caller === caller) &&
        (isForward ? matchesService(rule.services, name) : matchesMethod(rule.methods, name)),
    )
    // Names come from outside: the memory of decisions is bounded.
    if (this.#decisions.size >= DECISIONS_MAX) this.#decisions.clear()
    this.#decisions.set(key, isListed)
    return isListed
  }
}

function matchesService(patterns: readonly string[], name: string): boolean {
  return patterns.includes('*') || patterns.includes(name)
}

function matchesMethod(patterns: readonly string[], name: string): boolean {
  const service = name.slice(0, name.indexOf('/') + 1)
  return patterns.some(
    (pattern) =>
      pattern === '*' || pattern === name || (service !== '' && pattern === `${service}*`),
  )
}
