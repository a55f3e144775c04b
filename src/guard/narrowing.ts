import type { Ask, HttpAsk } from '../contract/call-guard.ts'
import { Budgets } from './budgets.ts'
import { CATALOG } from './catalog.ts'
import { coversCaller, matchesMethod, matchesService } from './pattern.ts'
import { Policy, type Moment } from './policy.ts'
import type { PolicyDocument, PolicyRule } from './rule.ts'

const TUNNELS_MAX = 64

/** What a gateway has pushed for one tunnel. */
export interface Push {
  readonly gateway: string
  readonly policy: Policy
  /** Rules that would allow more than the customer does: they change nothing. */
  readonly widening: readonly PolicyRule[]
}

/**
 * Narrower policies that control planes have pushed, each for the calls and the life of one tunnel. What is in force is
 * both together: a call must be allowed by the customer's policy and by the push, so that no push can widen anything.
 */
export class Narrowing {
  readonly #byTunnel = new Map<string, Push>()

  /** Takes a push over for a tunnel, in place of an earlier one. Returns it; undefined where too many tunnels have one. */
  put(
    tunnel: string,
    gateway: string,
    pushed: PolicyDocument,
    customers: PolicyDocument,
  ): Push | undefined {
    if (!this.#byTunnel.has(tunnel) && this.#byTunnel.size >= TUNNELS_MAX) return undefined
    // It decides on calls alone: budgets, residency, sealing, record and lockdown of it are nobody's business.
    const bare: PolicyDocument = {
      ...pushed,
      budgets: new Map(),
      rules: pushed.rules.map((rule) => ({ ...rule, budget: {}, messageBytesMax: undefined })),
    }
    const push = {
      gateway,
      policy: new Policy(bare, new Budgets(bare, 0)),
      widening: bare.rules.filter((rule) => !isCovered(rule, customers.rules)),
    }
    this.#byTunnel.set(tunnel, push)
    return push
  }

  /** Lets go of what was pushed for a tunnel that has ended. */
  forget(tunnel: string): void {
    this.#byTunnel.delete(tunnel)
  }

  /** Lets go of all, where the customer takes no more pushes. */
  clear(): void {
    this.#byTunnel.clear()
  }

  get all(): readonly Push[] {
    return [...this.#byTunnel.values()]
  }

  /** Whether what was pushed for the tunnel of a call allows it, or nothing was. */
  allows(ask: Ask, moment: Moment, http?: HttpAsk): boolean {
    const push = this.#byTunnel.get(ask.tunnel)
    return push === undefined || push.policy.judge(ask, moment, http).rule !== undefined
  }
}

/** Whether some single rule certainly allows all that a rule does. */
function isCovered(inner: PolicyRule, rules: readonly PolicyRule[]): boolean {
  return rules.some(
    (outer) =>
      inner.callers.every((one) => outer.callers.some((other) => coversCaller(other, one))) &&
      inner.methods.every((one) => outer.methods.some((other) => coversMethod(other, one))) &&
      inner.services.every((one) =>
        outer.services.some((other) => coversService(other, one, inner)),
      ) &&
      (outer.types === undefined || isWithin(inner.types, outer.types)) &&
      (outer.about === undefined || isWithin(inner.about, outer.about)) &&
      (!outer.sealed || inner.sealed) &&
      outer.user === undefined &&
      outer.hours === undefined &&
      outer.paths.length === 0,
  )
}

function isWithin<T>(inner: readonly T[] | undefined, outer: readonly T[]): boolean {
  return inner?.every((one) => outer.includes(one)) === true
}

/** A wildcard covers a name, but for the types that must be named. */
function coversService(outer: string, inner: string, { types }: PolicyRule): boolean {
  const mayBeNamedOnly = types?.every((type) => CATALOG[type].isNamedOnly !== true) !== true
  return outer === inner || (!mayBeNamedOnly && matchesService(outer, inner))
}

/** A pattern of methods is itself of the form of a method, so that what names it names all that it names. */
function coversMethod(outer: string, inner: string): boolean {
  return inner === '*' ? outer === '*' : matchesMethod(outer, inner)
}
