import { asPosternError } from '../../base/errors.ts'
import { Permit, type Ask } from '../../contract/call-guard.ts'
import type { Clock } from '../../base/clock.ts'
import type { PolicyDocument } from '../../guard/rule.ts'
import { expandRegions } from '../../guard/regions.ts'
import { liftLockdownOf, writeLockdown, type AgentGuard } from '../guard/guard.ts'
import { notShown, shown, type Experiment } from './experiment.ts'

const WIDENING =
  'version: 1\nrules: [{ name: everything for everybody, callers: ["*"], methods: ["*"], services: ["*"] }]'

/** Pushes a policy that allows everything, for one tunnel: a stranger in allowed regions must be refused before and after. */
export function wideningExperiment(agentGuard: AgentGuard, tunnel: string): Experiment {
  const [name, promise] = ['widening', 'the control plane cannot widen the policy']
  const { guard } = agentGuard
  const before = guard.policy
  const stranger = strangerOf(before, tunnel)
  const isLetIn = (): string | undefined => {
    const decision = guard.decide(stranger)
    if (!Permit.is(decision)) return decision.code === 'POLICY_DENIED' ? undefined : decision.code
    decision.ended('OK')
    return 'it is let in'
  }
  const first = isLetIn()
  if (first !== undefined)
    return notShown(name, promise, `a stranger is not refused by the rules, but: ${first}`)
  let text: string
  try {
    const { widening } = agentGuard.narrow(tunnel, 'agent prove', WIDENING)
    if (widening.length === 0)
      return notShown(name, promise, 'a push that allows everything adds nothing to the policy')
    text = `a push that allows everything would widen by ${widening.map((one) => JSON.stringify(one.name)).join(', ')}`
  } catch (error) {
    text = asPosternError(error).rawMessage
  }
  const isUnchanged = guard.policy === before
  const second = isLetIn()
  const evidence = `${text}: recorded; a stranger is refused before and after`
  return shown(name, promise, isUnchanged && second === undefined, second ?? evidence)
}

/** A caller whom only the rules can refuse. */
function strangerOf({ gatewayRegions, callerRegions }: PolicyDocument, tunnel: string): Ask {
  const [region = ''] = expandRegions(gatewayRegions)
  const [from] = expandRegions(callerRegions)
  return {
    caller: { kind: 'service', name: 'nobody-known-by-that-name', known: 'gateway', region: from },
    ...{ name: 'nobody.v1.Nothing/Offers', kind: 'unary', declared: undefined, data: undefined },
    ...{ sealed: false, gateway: '', region, tunnel },
  }
}

/** What `lockdownExperiment` is given. */
export interface LockdownPorts {
  readonly guard: AgentGuard
  readonly clock: Clock
  readonly stateDirectory: string
  /** A text that occurs nowhere else. */
  readonly marker: string
  /** Makes a call; returns why it did not pass. */
  readonly call: () => Promise<string | undefined>
}

/** Locks the agent down by the operator's own file, sees that a call is refused, and lifts that lockdown again, and no other. */
export async function lockdownExperiment(ports: LockdownPorts): Promise<Experiment> {
  const { guard, clock, stateDirectory, marker, call } = ports
  const [name, promise] = ['lockdown', 'the customer can end everything at once']
  guard.lookForLockdown()
  if (guard.guard.lockdown !== undefined)
    return notShown(name, promise, `it is locked down already: ${guard.guard.lockdown}`)
  const at = new Date(clock.wallMs()).toISOString()
  const ours = { at, reason: `agent prove --all ${marker.slice(0, 8)}`, tell: false }
  const startMs = clock.nowMs()
  try {
    writeLockdown(stateDirectory, ours)
    guard.lookForLockdown()
    const tookMs = clock.nowMs() - startMs
    const refusal = await call()
    const evidence = `in force ${tookMs.toFixed(0)} ms after the order; a call: ${refusal ?? 'it passed'}`
    return shown(name, promise, refusal?.includes('LOCKED_DOWN') === true, evidence)
  } finally {
    liftLockdownOf(stateDirectory, ours)
    guard.lookForLockdown()
  }
}
