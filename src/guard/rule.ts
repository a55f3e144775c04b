import type { Ask } from '../contract/call-guard.ts'
import type { DataType } from '../contract/data-type.ts'
import type { BudgetSpec } from './budget.ts'
import { CATALOG } from './catalog.ts'
import type { Hours } from './hours.ts'
import type { UserIssuer } from '../contract/user.ts'
import type { UserRule } from './user-rule.ts'
import {
  matchesCaller,
  matchesMethod,
  matchesService,
  type CallerPattern,
  type KnownCaller,
  type PathPattern,
} from './pattern.ts'

/** How many calls and how many bytes, both ways together, in any span of so long. */
export interface BudgetSpecs {
  readonly calls?: BudgetSpec
  readonly bytes?: BudgetSpec
}

/** One rule of a policy: what it allows, and under which conditions. */
export interface PolicyRule {
  readonly name: string
  /** Where it stands, for people: "policy.yaml:7". */
  readonly place: string
  readonly callers: readonly CallerPattern[]
  readonly methods: readonly string[]
  readonly services: readonly string[]
  /** Of HTTP services: requests that it allows; empty: all. */
  readonly paths: readonly PathPattern[]
  /** Of HTTP services: whether a request may upgrade the connection. */
  readonly upgrade: boolean
  /** Undefined: every type that its methods and services carry, but what must be named. */
  readonly types: readonly DataType[] | undefined
  /** Undefined: whatever a call is about. */
  readonly about: readonly DataType[] | undefined
  readonly messageBytesMax: number | undefined
  readonly budget: BudgetSpecs
  readonly hours: Hours | undefined
  readonly sealed: boolean
  /** Undefined: a user is not asked for. */
  readonly user: UserRule | undefined
}

/** Makes a rule out of what it says beside the defaults. */
export function rule(said: Pick<PolicyRule, 'name' | 'place'> & Partial<PolicyRule>): PolicyRule {
  return {
    callers: [],
    methods: [],
    services: [],
    paths: [],
    upgrade: false,
    types: undefined,
    about: undefined,
    messageBytesMax: undefined,
    budget: {},
    hours: undefined,
    sealed: false,
    user: undefined,
    ...said,
  }
}

/** A policy as its owner wrote it, read and judged. */
export interface PolicyDocument {
  /** Of its file, for people. */
  readonly origin: string
  readonly mode: 'enforce' | 'observe'
  /** When observing ends, in wall-clock ms. */
  readonly observeUntilMs: number
  readonly rules: readonly PolicyRule[]
  /** Of each type, over all rules. */
  readonly budgets: ReadonlyMap<DataType, BudgetSpecs>
  /** Types that must be sealed, or need not, against the catalog's default. */
  readonly sealed: ReadonlyMap<DataType, boolean>
  /** Whose tokens of users are taken, and whether on sealed calls alone. */
  readonly userIssuers: readonly UserIssuer[]
  readonly usersSealed: boolean
  /** Regions and groups of gateways, and of callers; empty: any. */
  readonly gatewayRegions: readonly string[]
  readonly callerRegions: readonly string[]
  /** Regions of stores, as their clouds name them, of lower case; empty: any, and stores that do not tell. */
  readonly storeRegions: readonly string[]
  /** Whether the control plane may narrow. */
  readonly push: 'narrow' | 'off'
  /** Fields of messages that their description lacks: taken off, or a reason to refuse. */
  readonly unknownFields: 'strip' | 'refuse'
  /** Names of metadata that cross with calls, beside none. */
  readonly metadata: readonly string[]
  /** Why everything is locked down; undefined: it is not. */
  readonly lockdown: string | undefined
}

/** The policy of an agent that has none: nothing passes but its own traffic. */
export const EMPTY_POLICY: PolicyDocument = {
  origin: 'no policy',
  mode: 'enforce',
  observeUntilMs: 0,
  rules: [],
  budgets: new Map(),
  sealed: new Map(),
  userIssuers: [],
  usersSealed: true,
  gatewayRegions: [],
  callerRegions: [],
  storeRegions: [],
  push: 'narrow',
  unknownFields: 'strip',
  metadata: [],
  lockdown: undefined,
}

/** Whether a policy demands that calls with data of a type are sealed. */
export function mustBeSealed({ sealed }: PolicyDocument, type: DataType): boolean {
  return sealed.get(type) ?? CATALOG[type].isSealed === true
}

/** Whether a rule speaks of a caller's use of a method or service: what stays true for as long as the rules do. */
export function speaksOf(
  { callers, methods, services }: PolicyRule,
  caller: KnownCaller,
  { name, kind }: Pick<Ask, 'name' | 'kind'>,
): boolean {
  if (!callers.some((pattern) => matchesCaller(pattern, caller))) return false
  return kind === 'forward'
    ? services.some((pattern) => matchesService(pattern, name))
    : methods.some((pattern) => matchesMethod(pattern, name))
}

/** Whether a rule allows a type of data: those that must be named, by the name of method or service alone. */
export function allowsType(
  { types, methods, services }: PolicyRule,
  type: DataType,
  { name, kind }: Pick<Ask, 'name' | 'kind'>,
): boolean {
  if (types !== undefined && !types.includes(type)) return false
  if (CATALOG[type].isNamedOnly !== true) return true
  return (kind === 'forward' ? services : methods).includes(name)
}
