import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Ask, CallGuard, Denial, HttpAsk, Permit } from '../contract/call-guard.ts'
import { callerText } from '../contract/caller.ts'
import { Budgets, type SpentBudgets } from './budgets.ts'
import { CallPermit, OwnPermit, type PermitBounds, type PermitPorts } from './call-permit.ts'
import { CATALOG } from './catalog.ts'
import { explain, type Explanation } from './explain.ts'
import { hardDenial, stoppedDenial } from './hard-rules.ts'
import { ClockWatch } from './hours.ts'
import { judgeOffer } from './judge-offer.ts'
import { Narrowing, type Push } from './narrowing.ts'
import { pathOf, Policy, type Moment, type Verdict } from './policy.ts'
import type { Recorder } from './recorder.ts'
import type { UserVerdict, UserVerifier } from '../contract/user.ts'
import { EMPTY_POLICY, rule, type PolicyDocument, type PolicyRule } from './rule.ts'
import { TypeCounts } from './type-counts.ts'

const ID_BYTES = 4
const LOOK_MS = 100
/** Of `agent prove`. */
const PROOF_METHOD = 'postern.v1.Diagnostics/Echo'
const PROOF_RULE = rule({ name: 'agent prove', place: 'agent prove' })

/** The clock, chance and record that `Guard` is given. */
export interface GuardPorts {
  readonly clock: Pick<Clock, 'nowMs' | 'wallMs'>
  readonly random: Pick<Random, 'hex'>
  readonly recorder: Recorder
  /** Default: no token is taken. */
  readonly users?: UserVerifier
}

/**
 * The customer's decision on everything that crosses: what no rule allows is refused. It stands before every handler and
 * forward, and before what the agent itself tells the gateway.
 */
export class Guard implements CallGuard {
  readonly #ports: GuardPorts
  readonly #counts = new TypeCounts()
  readonly #time = new ClockWatch()
  readonly #narrowing = new Narrowing()
  readonly #live = new Set<CallPermit>()
  #policy: Policy
  /** Why the operator has locked it down; the policy may do so too. */
  #lockdown: string | undefined
  readonly #permits: PermitPorts
  #lastBounds: KnownBounds | undefined
  #lookedAtMs = Number.NEGATIVE_INFINITY
  /** The wall clock less the monotonic one, when it was last looked at. */
  #offsetMs = 0
  allowed = 0
  denied = 0
  /** Let pass by observing alone. */
  observed = 0

  /** `spent`: of budgets, before a restart. */
  constructor(ports: GuardPorts, document = EMPTY_POLICY, spent: SpentBudgets = {}) {
    this.#ports = ports
    const { clock, recorder } = ports
    this.#permits = {
      nowMs: () => clock.nowMs(),
      recorder,
      counts: this.#counts,
      request: (permit, http) => this.#decide(permit.decided.ask, http),
      onEnded: (permit) => {
        this.#live.delete(permit)
      },
    }
    this.#policy = new Policy(document, new Budgets(document, ports.clock.nowMs(), spent))
  }

  judgeOffer = judgeOffer

  get policy(): PolicyDocument {
    return this.#policy.document
  }

  get pushes(): readonly Push[] {
    return this.#narrowing.all
  }

  get counts(): TypeCounts['byType'] {
    return this.#counts.byType
  }

  get budgets(): Budgets {
    return this.#policy.budgets
  }

  /** Whether the wall clock has jumped, so that time windows are shut. */
  get isTimeWrong(): boolean {
    return this.#time.hasJumped
  }

  /** Why nothing passes but health; undefined: it is not locked down. */
  get lockdown(): string | undefined {
    return this.#lockdown ?? this.#policy.document.lockdown
  }

  /** Goes over to another policy. Calls that it does not allow end now; budgets of the same name go on. */
  use(document: PolicyDocument): void {
    const nowMs = this.#ports.clock.nowMs()
    const spent = this.#policy.budgets.spent(nowMs)
    this.#policy = new Policy(document, new Budgets(document, nowMs, spent))
    if (document.push === 'off') this.#narrowing.clear()
    this.#time.trust()
    this.#ports.recorder.event({ kind: 'policy', text: `in force: ${document.origin}` })
    this.#judgeAnew()
  }

  /** Ends all calls and forwards at once, and lets none begin. `reason` undefined: lifts it, but for what the policy says. */
  lockDown(reason: string | undefined): void {
    if (reason === this.#lockdown) return
    this.#lockdown = reason
    if (reason === undefined) this.#ports.recorder.event({ kind: 'lift', text: '' })
    else this.#ports.recorder.event({ kind: 'lockdown', text: reason })
    this.#judgeAnew()
  }

  /** Takes a narrower policy over from a gateway, for one tunnel. Returns undefined where the customer takes none. */
  narrow(tunnel: string, gateway: string, pushed: PolicyDocument): Push | undefined {
    const { document } = this.#policy
    const push =
      document.push === 'off' ? undefined : this.#narrowing.put(tunnel, gateway, pushed, document)
    const widening = push?.widening.map(({ name }) => name) ?? []
    const text =
      push === undefined
        ? 'refused: the policy takes no pushes'
        : widening.length === 0
          ? `narrows to ${String(pushed.rules.length)} rules`
          : `would widen, which changes nothing: ${widening.join(', ')}`
    this.#ports.recorder.event({ kind: 'push', gateway, text })
    if (push !== undefined) this.#judgeAnew()
    return push
  }

  /** A tunnel has ended: what was pushed for it holds no more. */
  forget(tunnel: string): void {
    this.#narrowing.forget(tunnel)
  }

  /** To be called once a second, so that a jump of the wall clock is seen. */
  tick(): void {
    this.#lookedAtMs = Number.NEGATIVE_INFINITY
    this.#moment()
  }

  decide(ask: Ask): Permit | Denial {
    if (ask.caller.kind === 'gateway') return this.#decideOwn(ask)
    return ask.caller.kind === 'operator' ? this.#decideProof(ask) : this.#decide(ask, undefined)
  }

  userOf(
    token: string,
    sealed: boolean,
    call: Pick<Ask, 'caller' | 'name' | 'kind'>,
  ): UserVerdict | Promise<UserVerdict> | undefined {
    const { userIssuers, usersSealed } = this.policy
    // Strangers make us verify nothing, and learn nothing by it.
    if (!this.#policy.speaksOf(call.caller, call)) return undefined
    const { users } = this.#ports
    if (userIssuers.length === 0 || users === undefined)
      return { fault: 'this agent takes no tokens of users' }
    if (usersSealed && !sealed) return { fault: 'it is taken on sealed calls only' }
    return users.verify(token, userIssuers, this.#policy.claimPointers, callerText(call.caller))
  }

  /** Has the record say that somebody else has refused what would have been a call. */
  refused(ask: Ask, denial: Denial): void {
    this.#deny({ ask, http: undefined }, denial, denial.code, undefined, this.#moment())
  }

  /** Says what would become of a call that is made now, without letting it pass. */
  explain(ask: Ask, http?: HttpAsk): Explanation {
    return explain(this.#policy, this.lockdown, ask, this.#moment(), http)
  }

  /** The permit for what the agent itself tells a gateway. `type`: what it is, where it is not our own control traffic. */
  permitOwn(name: string, type: 'own' | 'run-metadata' = 'own'): Permit {
    const messageBytesMax = CATALOG[type].messageBytesMax ?? Infinity
    return new OwnPermit(name, this.#ports.recorder, this.#counts, { type, messageBytesMax })
  }

  #decideOwn({ name, data }: Ask): Permit | Denial {
    if (data === undefined || data.carries === 'own') return this.permitOwn(name)
    this.#ports.recorder.own(name, 0, 0, false)
    return { code: 'POLICY_DENIED', text: `gateways may not use ${name} in their own name` }
  }

  /** What `agent prove` sends through the agent on the customer's own machine: one method, that gives back what it got. */
  #decideProof(ask: Ask): Permit | Denial {
    const moment = this.#moment()
    const stopped = stoppedDenial(ask, this.#state())
    if (stopped === undefined && ask.name === PROOF_METHOD && ask.data !== undefined)
      return this.#permit({ ask, http: undefined }, { rule: PROOF_RULE }, true, moment)
    const text = 'an operator may use nothing but the echo of agent prove'
    const denial = stopped ?? { code: 'POLICY_DENIED', text }
    return this.#deny({ ask, http: undefined }, denial, 'policy', undefined, moment)
  }

  #decide(ask: Ask, http: HttpAsk | undefined): Permit | Denial {
    const moment = this.#moment()
    const verdict = this.#policy.judge(ask, moment, http)
    const hard = this.#hard(ask, verdict)
    const isNarrowed = verdict.rule !== undefined && !this.#narrowing.allows(ask, moment, http)
    const isAllowed = verdict.rule !== undefined && !isNarrowed
    if (hard === undefined && (isAllowed || this.#observes(ask, verdict, moment)))
      return this.#permit({ ask, http }, verdict, isAllowed, moment)
    const why =
      hard?.text ??
      (isNarrowed ? 'pushed policy' : verdict.rule === undefined ? verdict.why : 'policy')
    const rule = verdict.rule ?? (verdict.why === 'no rule' ? undefined : verdict.nearest)
    return this.#deny({ ask, http }, hard ?? softDenial(ask, verdict), why, rule?.name, moment)
  }

  #permit(
    { ask, http }: Asked,
    { rule }: Verdict,
    isAllowed: boolean,
    { nowMs, wallMs }: Moment,
  ): Permit {
    const type = ask.data?.carries
    const { budgets } = this.#policy
    if (isAllowed) this.allowed++
    else this.observed++
    if (rule !== undefined) budgets.spendCall(rule, type, nowMs)
    const decided = {
      ask,
      http,
      atMs: wallMs,
      decision: isAllowed ? ('allow' as const) : ('observe' as const),
      rule: rule?.name,
      path: rule === undefined || http === undefined ? undefined : pathOf(rule, http),
      denial: undefined,
    }
    const draws = rule === undefined ? [] : budgets.bytesOf(rule, type)
    const bounds = this.#boundsOf(ask, http, rule)
    const permit = new CallPermit(this.#permits, decided, draws, bounds, nowMs)
    this.#live.add(permit)
    return permit
  }

  /** Most calls have the bounds of the one before. */
  #boundsOf(ask: Ask, http: HttpAsk | undefined, rule: PolicyRule | undefined): PermitBounds {
    const { document } = this.#policy
    const last = this.#lastBounds
    const isAlike =
      last?.document === document &&
      last.rule === rule &&
      last.data === ask.data &&
      last.kind === ask.kind
    if (isAlike && http === undefined) return last.bounds
    const bounds = boundsOf(ask, http, rule, document)
    if (http === undefined) {
      const { data, kind } = ask
      this.#lastBounds = { document, rule, data, kind, bounds }
    }
    return bounds
  }

  #deny(
    { ask, http }: Asked,
    denial: Denial,
    why: string,
    rule: string | undefined,
    { wallMs }: Moment,
  ): Denial {
    this.denied++
    const id = this.#ports.random.hex(ID_BYTES)
    if (ask.data !== undefined) this.#counts.refused(ask.data.carries)
    this.#ports.recorder.refused({
      ask,
      http,
      atMs: wallMs,
      decision: 'deny',
      rule,
      path: undefined,
      denial: { ...denial, id, why },
    })
    return { code: denial.code, text: `${denial.text} (${id} in the agent's record)` }
  }

  /** Judges every call that runs: those that would not be let in now end. */
  #judgeAnew(): void {
    const moment = this.#moment()
    for (const permit of [...this.#live]) {
      const { ask, http, decision } = permit.decided
      const hard = hardDenial(ask, this.#state())
      const verdict = this.#policy.judge(ask, moment, http)
      const isAllowed = verdict.rule !== undefined && this.#narrowing.allows(ask, moment, http)
      const stays =
        isAllowed ||
        (decision === 'observe' && this.#observes(ask, verdict, moment)) ||
        // It was counted when it began.
        (verdict.rule === undefined && verdict.why === 'budget')
      if (hard !== undefined || !stays) permit.withdraw(hard ?? softDenial(ask, verdict))
    }
  }

  /** Observing loosens rules alone: what must be named or sealed must be so still, and a push still narrows. */
  #observes({ data }: Ask, verdict: Verdict, { wallMs, isTimeRight }: Moment): boolean {
    const { mode, observeUntilMs } = this.#policy.document
    if (mode !== 'observe' || !isTimeRight || wallMs >= observeUntilMs) return false
    if (verdict.rule !== undefined || verdict.why === 'sealed') return false
    const isNamedOnly = data !== undefined && CATALOG[data.carries].isNamedOnly === true
    return !isNamedOnly || verdict.why === 'hours' || verdict.why === 'budget'
  }

  /** Who is named by no rule at all is not told what else stands against the call. */
  #hard(ask: Ask, verdict: Verdict): Denial | undefined {
    const hard = hardDenial(ask, this.#state())
    const isStranger = verdict.rule === undefined && verdict.why === 'no rule'
    return hard?.code === 'POLICY_DENIED' && isStranger ? softDenial(ask, verdict) : hard
  }

  #state(): Parameters<typeof hardDenial>[1] {
    const { document } = this.#policy
    const { mayGoOn } = this.#ports.recorder
    return { policy: document, lockdown: this.lockdown, mayGoOn }
  }

  #moment(): Moment {
    const { clock } = this.#ports
    const nowMs = clock.nowMs()
    // Where nothing depends on the time of day, a look at the wall clock now and then will do.
    if (!this.#policy.isTimed && nowMs - this.#lookedAtMs < LOOK_MS)
      return { nowMs, wallMs: nowMs + this.#offsetMs, isTimeRight: !this.#time.hasJumped }
    const wallMs = clock.wallMs()
    this.#lookedAtMs = nowMs
    this.#offsetMs = wallMs - nowMs
    const before = this.#time.hasJumped
    const isTimeRight = this.#time.look(nowMs, wallMs)
    if (!isTimeRight && !before)
      this.#ports.recorder.event({ kind: 'clock', text: 'the wall clock has jumped' })
    return { nowMs, wallMs, isTimeRight }
  }
}

/** The bounds of one kind of call, and what they come from. */
interface KnownBounds extends Pick<Ask, 'data' | 'kind'> {
  readonly document: PolicyDocument
  readonly rule: PolicyRule | undefined
  readonly bounds: PermitBounds
}

/** What is asked: a call, or one request within a forward. */
interface Asked {
  readonly ask: Ask
  readonly http: HttpAsk | undefined
}

/** What bounds a call by its type, its method and the rule that allows it. */
function boundsOf(
  { data, kind }: Ask,
  http: HttpAsk | undefined,
  rule: PolicyRule | undefined,
  { unknownFields, metadata, storeRegions }: PolicyDocument,
): PermitBounds {
  const row = CATALOG[data?.carries ?? 'own']
  const messageBytesMax = Math.min(
    rule?.messageBytesMax ?? Infinity,
    data?.messageBytesMax ?? row.messageBytesMax ?? Infinity,
  )
  // What goes through a forward has no messages, but for the requests of an HTTP service.
  const isWhole = kind === 'forward' && http === undefined
  const isMetadata = row.rule === 'metadata' && kind !== 'forward'
  const fields = { unknown: unknownFields, bytesMax: row.fieldBytesMax ?? Infinity }
  return {
    messageBytesMax: isWhole || http?.isUpgrade === true ? Infinity : messageBytesMax,
    fields: isMetadata ? fields : undefined,
    metadata,
    about: rule?.about,
    storeRegions,
  }
}

/** What a caller is told where no rule allows its call: no rule's name. */
function softDenial({ caller, name }: Ask, verdict: Verdict): Denial {
  if (verdict.rule === undefined && verdict.why === 'budget')
    return { code: 'POLICY_BUDGET', text: `the budget for ${name} is used up` }
  return { code: 'POLICY_DENIED', text: `${callerText(caller)} may not use ${name}` }
}
