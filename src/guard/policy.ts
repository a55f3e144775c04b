import type { Ask, HttpAsk } from '../contract/call-guard.ts'
import type { Caller } from '../contract/caller.ts'
import { CATALOG } from './catalog.ts'
import { Budgets } from './budgets.ts'
import { HoursClock } from './hours.ts'
import { matchesPath, segmentsOf, type KnownCaller } from './pattern.ts'
import type { User } from '../contract/user.ts'
import { claimPointers, isUser } from './user-rule.ts'
import { allowsType, speaksOf, type PolicyDocument, type PolicyRule } from './rule.ts'

/** The time at which a decision is made. */
export interface Moment {
  /** Monotonic. */
  readonly nowMs: number
  readonly wallMs: number
  /** False after the wall clock has jumped: windows are shut. */
  readonly isTimeRight: boolean
}

/** What a policy says of an ask: the rule that allows it, or why none does. */
export type Verdict =
  | { readonly rule: PolicyRule }
  | { readonly rule: undefined; readonly why: Why; readonly nearest: PolicyRule | undefined }

/** Why no rule allows a call, the nearest miss last. */
export type Why =
  'no rule' | 'type' | 'unnamed' | 'path' | 'upgrade' | 'sealed' | 'user' | 'hours' | 'budget'

/** The rules that spoke of the last call: the next one is often like it. */
interface Speaking {
  readonly name: string
  readonly kind: Ask['kind']
  readonly caller: string
  readonly known: KnownCaller['known']
  readonly issuer: string | undefined
  readonly rules: readonly PolicyRule[]
}

const CANDIDATES_MAX = 10_000
const NEARNESS: readonly Why[] = [
  ...([
    'no rule',
    'type',
    'unnamed',
    'path',
    'upgrade',
    'sealed',
    'user',
    'hours',
    'budget',
  ] as const),
]

/** A policy in force: finds the rule that allows a call, at a cost that does not grow with the number of rules. */
export class Policy {
  readonly document: PolicyDocument
  readonly budgets: Budgets
  /** Whether anything of it depends on the time of day. */
  readonly isTimed: boolean
  /** JSON pointers of the claims of users that rules speak of. */
  readonly claimPointers: readonly string[]
  readonly #hours = new HoursClock()
  /** Rules that speak of a caller and a name; names come from outside, so what is kept is bounded. */
  #last: Speaking | undefined
  readonly #candidates = new Map<string, readonly PolicyRule[]>()

  constructor(document: PolicyDocument, budgets: Budgets) {
    this.document = document
    this.budgets = budgets
    this.claimPointers = claimPointers(document.rules)
    this.isTimed =
      document.mode === 'observe' || document.rules.some(({ hours }) => hours !== undefined)
  }

  /** Finds the first rule that allows it. Nothing is spent by it. */
  judge(ask: Ask, moment: Moment, http?: HttpAsk): Verdict {
    const caller = knownCaller(ask.caller)
    if (caller === undefined) return { rule: undefined, why: 'no rule', nearest: undefined }
    let why: Why = 'no rule'
    let nearest: PolicyRule | undefined
    for (const candidate of this.#speaking(caller, ask)) {
      const miss = this.missOf(candidate, ask, moment) ?? missOfRequest(candidate, http)
      if (miss === undefined) return { rule: candidate }
      if (NEARNESS.indexOf(miss) < NEARNESS.indexOf(why)) continue
      why = miss
      nearest = candidate
    }
    return { rule: undefined, why, nearest }
  }

  /** Why a rule that speaks of a call does not allow it now; undefined: it does. */
  missOf(rule: PolicyRule, ask: Ask, moment: Moment): Why | undefined {
    const type = ask.data?.carries
    if (type !== undefined && !allowsType(rule, type, ask))
      return CATALOG[type].isNamedOnly === true && rule.types?.includes(type) !== false
        ? 'unnamed'
        : 'type'
    if (rule.sealed && !ask.sealed) return 'sealed'
    if (rule.user !== undefined && !isUser(rule.user, this.#userOf(ask))) return 'user'
    if (rule.hours !== undefined) {
      const isOpen = moment.isTimeRight && this.#hours.isOpen(rule.hours, moment.wallMs)
      if (!isOpen) return 'hours'
    }
    return this.budgets.hasLeft(rule, type, moment.nowMs) ? undefined : 'budget'
  }

  /** Whether any rule speaks of such a call. */
  speaksOf(caller: Caller, call: Pick<Ask, 'name' | 'kind'>): boolean {
    const known = knownCaller(caller)
    return known !== undefined && this.#speaking(known, call).length > 0
  }

  /** The user of a call, as far as the policy still takes their issuer and the way that their token came. */
  #userOf({ user, sealed }: Ask): User | undefined {
    const { userIssuers, usersSealed } = this.document
    if (user === undefined || (usersSealed && !sealed)) return undefined
    return userIssuers.some(({ issuer }) => issuer === user.issuer) ? user : undefined
  }

  #speaking(caller: KnownCaller, ask: Pick<Ask, 'name' | 'kind'>): readonly PolicyRule[] {
    const last = this.#last
    if (last?.name === ask.name && last.caller === caller.name && last.known === caller.known)
      if (last.kind === ask.kind && last.issuer === caller.issuer) return last.rules
    const found = this.#remembered(caller, ask)
    const { name, kind } = ask
    const { name: who, known, issuer } = caller
    this.#last = { name, kind, caller: who, known, issuer, rules: found }
    return found
  }

  #remembered(caller: KnownCaller, ask: Pick<Ask, 'name' | 'kind'>): readonly PolicyRule[] {
    const key = `${caller.known} ${caller.issuer ?? ''} ${caller.name} ${ask.kind === 'forward' ? '>' : '/'} ${ask.name}`
    const known = this.#candidates.get(key)
    if (known !== undefined) return known
    const found = this.document.rules.filter((one) => speaksOf(one, caller, ask))
    if (this.#candidates.size >= CANDIDATES_MAX) this.#candidates.clear()
    this.#candidates.set(key, found)
    return found
  }
}

/** Why a rule does not allow a request within a forward that it allows; undefined: it does. */
function missOfRequest(rule: PolicyRule, http: HttpAsk | undefined): Why | undefined {
  if (http === undefined) return undefined
  if (rule.paths.length > 0 && pathOf(rule, http) === undefined) return 'path'
  return http.isUpgrade && !rule.upgrade ? 'upgrade' : undefined
}

/** Returns the pattern of a rule that a request matches; undefined where the rule has none such. */
export function pathOf({ paths }: PolicyRule, { method, path }: HttpAsk): string | undefined {
  const segments = segmentsOf(path)
  if (segments === undefined) return undefined
  return paths.find((pattern) => matchesPath(pattern, method, segments))?.text
}

/** Returns a caller that rules can speak of; undefined for gateways and others that no rule names. */
export function knownCaller(caller: Caller): KnownCaller | undefined {
  return caller.kind === 'service' ? caller : undefined
}
