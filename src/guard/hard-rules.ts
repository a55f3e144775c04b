import type { Ask, Denial } from '../contract/call-guard.ts'
import { callerText } from '../contract/caller.ts'
import type { CallData, DataType } from '../contract/data-type.ts'
import { mayCross, neverText } from './catalog.ts'
import { isRegionAllowed } from './regions.ts'
import { mustBeSealed, type PolicyDocument } from './rule.ts'

/** What stays with health alone while everything is locked down. */
const HEALTH = 'grpc.health.v1.Health/Check'

/** The state that the rules beyond every policy's rules are judged by. */
export interface HardState {
  readonly policy: PolicyDocument
  readonly lockdown: string | undefined
  /** False where nothing can be written down, and calls stop then. */
  readonly mayGoOn: boolean
}

/**
 * What no rule of a policy allows, and no observing loosens: lockdown, record, types, residency and sealing. Returns
 * undefined where nothing of these stands against a call.
 */
export function hardDenial(ask: Ask, state: HardState): Denial | undefined {
  return firstOf(JUDGES, ask, state)
}

/** Of these, what stands against everything: lockdown, and a record that cannot be written. */
export function stoppedDenial(ask: Ask, state: HardState): Denial | undefined {
  return firstOf(STOPS, ask, state)
}

/** Everything of these that stands against a call, for people. */
export function hardDenials(ask: Ask, state: HardState): readonly Denial[] {
  return JUDGES.flatMap((judge) => judge(ask, state) ?? [])
}

function firstOf(judges: readonly Judge[], ask: Ask, state: HardState): Denial | undefined {
  for (const judge of judges) {
    const denial = judge(ask, state)
    if (denial !== undefined) return denial
  }
  return undefined
}

type Judge = (ask: Ask, state: HardState) => Denial | undefined

const STOPS: readonly Judge[] = [
  ({ name, kind }, { lockdown }) =>
    lockdown === undefined || (name === HEALTH && kind === 'unary')
      ? undefined
      : { code: 'LOCKED_DOWN', text: 'the customer has locked this agent down' },
  (_ask, { mayGoOn }) =>
    mayGoOn
      ? undefined
      : {
          code: 'RECORD_UNWRITABLE',
          text: 'the record cannot be written, so nothing may cross',
        },
]

const JUDGES: readonly Judge[] = [
  ...STOPS,
  ({ region }, { policy }) =>
    isRegionAllowed(policy.gatewayRegions, region)
      ? undefined
      : { code: 'REGION_REFUSED', text: 'the region of this gateway is not allowed' },
  ({ caller }, { policy }) => {
    const region = (caller.kind === 'service' ? caller.region : undefined) ?? ''
    if (isRegionAllowed(policy.callerRegions, region)) return undefined
    const how = region === '' ? 'is not proven' : 'is not allowed'
    return { code: 'REGION_REFUSED', text: `the region of ${callerText(caller)} ${how}` }
  },
  ({ data }) => {
    const never = typesOf(data).find((type) => !mayCross(type))
    return never && { code: 'POLICY_DENIED', text: neverText(never) }
  },
  ({ userFault }) =>
    userFault === undefined
      ? undefined
      : { code: 'USER_REFUSED', text: `the token of the user: ${userFault}` },
  ({ name, data, declared }) =>
    data === undefined || declared === undefined || typesOf(data).includes(declared)
      ? undefined
      : { code: 'POLICY_DENIED', text: `${name} carries ${data.carries}, not ${declared}` },
  ({ name, data, sealed }, { policy }) => {
    const type = sealed ? undefined : typesOf(data).find((one) => mustBeSealed(policy, one))
    return (
      type && { code: 'POLICY_DENIED', text: `${name} carries ${type}: the call must be sealed` }
    )
  },
]

function typesOf(data: CallData | undefined): readonly DataType[] {
  if (data === undefined) return NO_TYPES
  const { carries, request, response } = data
  return request === carries && response === carries ? [carries] : [carries, request, response]
}

const NO_TYPES: readonly DataType[] = []
