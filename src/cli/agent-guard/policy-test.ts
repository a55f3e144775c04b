import { loadSpent, policyOf, readLockdown } from '../../agent/guard/guard.ts'
import { offeredData } from '../../agent/services/services.ts'
import { PosternError } from '../../base/errors.ts'
import { atPointer } from '../../base/json-pointer.ts'
import { normalPath } from '../../transport/http-path.ts'
import type { Ask, HttpAsk } from '../../contract/call-guard.ts'
import type { User } from '../../contract/user.ts'
import { claimPointers } from '../../guard/user-rule.ts'
import type { PolicyDocument } from '../../guard/rule.ts'
import type { Explanation } from '../../guard/explain.ts'
import { Guard } from '../../guard/guard.ts'
import { readCallerPattern } from '../../guard/pattern.ts'
import { NO_RECORD } from '../../guard/recorder.ts'
import { expandRegions } from '../../guard/regions.ts'
import {
  command,
  humanBytes,
  JSON_OPTION,
  settingsOf,
  type ArgumentsOf,
  type Surroundings,
} from '../program/program.ts'
import { GUARD_SETTINGS, type GuardSettings } from './guard-settings.ts'

const DENIED = 1

const OPTIONS = {
  caller: {
    type: 'string',
    required: true,
    describe: 'Name of the caller, as in its certificate, or the subject of its token.',
  },
  method: { type: 'string', describe: 'package.Service/Method that it calls.' },
  service: { type: 'string', describe: 'Or the service that it is forwarded to.' },
  sealed: {
    type: 'boolean',
    default: false,
    describe: 'The call is sealed: the agent has seen who calls.',
  },
  token: {
    type: 'boolean',
    default: false,
    describe: 'The caller has shown the gateway a token, and no certificate.',
  },
  user: {
    type: 'string',
    describe:
      'Claims of the token of a user, as JSON with iss and sub, as if it had been verified: {"iss":"https://login.example.com","sub":"anna","groups":["dba"]}.',
  },
  path: {
    type: 'string',
    describe: 'Of an HTTP service: the request, such as "GET /api/v1/query".',
  },
  'caller-region': {
    type: 'string',
    describe: "Region in the caller's certificate. Default: one that is allowed.",
  },
  region: { type: 'string', describe: 'Region of the gateway. Default: one that is allowed.' },
  ...JSON_OPTION,
} as const

/** `agent policy test`: what would become of a call, by which line, and at what cost to which budget. */
export const policyTest = command({
  path: 'test',
  describe:
    'Say whether a call would be let through, and by which rule; where not, what stands against it. Nothing is sent. Exit 0: allowed, 1: denied.',
  settings: { table: GUARD_SETTINGS },
  options: OPTIONS,
  examples: [
    ['$0 policy test --caller console --method grpc.health.v1.Health/Check', 'one call'],
    ['$0 policy test --caller dba-anna --service orders-db', 'one forward'],
  ],
  run: (args, surroundings) => {
    const { values } = settingsOf(GUARD_SETTINGS, args, surroundings.environment, true)
    const found = explained(values, args, surroundings)
    const { output } = surroundings
    output.result(args.json ? JSON.stringify(json(found), null, 2) : text(found))
    return found.explanation.isAllowed && found.isOffered ? 0 : DENIED
  },
})

interface Found {
  readonly ask: Ask
  readonly isOffered: boolean
  readonly origin: string
  readonly explanation: Explanation
}

function explained(
  settings: GuardSettings,
  {
    caller,
    method,
    service,
    sealed,
    token,
    region,
    user,
    path,
    'caller-region': callerRegion,
  }: ArgumentsOf<typeof OPTIONS>,
  surroundings: Surroundings,
): Found {
  if ((method === undefined) === (service === undefined))
    throw new PosternError('USAGE', 'name either --method or --service')
  if (sealed && token) throw new PosternError('USAGE', '--token and --sealed exclude each other')
  const written = token ? `${caller}@token` : caller
  if (readCallerPattern(written)?.isPrefix !== false || (!token && caller.includes('@')))
    throw new PosternError('USAGE', `${JSON.stringify(caller)} is no name of a caller`)
  const ambient = surroundings.ambient('error', 'policy')
  const { clock, random } = ambient
  const name = method ?? service ?? ''
  const offered = offeredData(settings, ambient, { name, isForward: service !== undefined })
  const document = policyOf(settings)
  const directory = settings['state.directory']
  const guard = new Guard({ clock, random, recorder: NO_RECORD }, document, loadSpent(directory))
  guard.lockDown(readLockdown(directory)?.reason)
  const [allowedRegion = ''] = expandRegions(document.gatewayRegions)
  const [allowedFrom] = expandRegions(document.callerRegions)
  const from = callerRegion ?? allowedFrom
  const known = sealed ? ('first-hand' as const) : token ? ('token' as const) : ('gateway' as const)
  const ask: Ask = {
    caller: { kind: 'service', name: caller, known, region: from },
    sealed,
    name,
    kind: offered?.kind ?? (service === undefined ? 'unary' : 'forward'),
    declared: undefined,
    data: offered?.data,
    user: user === undefined ? undefined : userOf(user, document.rules),
    gateway: '',
    region: region ?? allowedRegion,
    tunnel: '',
  }
  const explanation = guard.explain(ask, path === undefined ? undefined : requestOf(path, service))
  return { ask, isOffered: offered !== undefined, origin: document.origin, explanation }
}

/** @throws USAGE */
function userOf(text: string, rules: PolicyDocument['rules']): User {
  let claims: Record<string, unknown>
  try {
    claims = JSON.parse(text) as Record<string, unknown>
  } catch (error) {
    throw new PosternError('USAGE', `--user is not JSON: ${(error as Error).message}`)
  }
  const { iss, sub } = claims
  if (typeof iss !== 'string' || typeof sub !== 'string')
    throw new PosternError('USAGE', '--user needs iss and sub, as texts')
  const asked = claimPointers(rules).map((name): [string, unknown] => [
    name,
    atPointer(claims, name),
  ])
  return { issuer: iss, subject: sub, claims: new Map(asked) }
}

/** @throws USAGE */
function requestOf(text: string, service: string | undefined): HttpAsk {
  if (service === undefined) throw new PosternError('USAGE', '--path goes with --service')
  const [, method = '', target = ''] = /^([A-Z]{3,16}) (\/.*)$/.exec(text) ?? []
  const path = normalPath(target)
  if (method === '' || path === undefined)
    throw new PosternError(
      'USAGE',
      `--path ${JSON.stringify(text)} is no request such as "GET /v1/x"`,
    )
  return { method, path, isUpgrade: false }
}

function text({ ask, isOffered, origin, explanation }: Found): string {
  const { isAllowed, rule, against, nearest, budgets } = explanation
  const carries = ask.data === undefined ? '' : `; it carries ${ask.data.carries}`
  const lines =
    isAllowed && rule !== undefined
      ? [`ALLOW  by rule ${JSON.stringify(rule.name)} (${rule.place})${carries}`]
      : rule !== undefined
        ? [`DENY   though rule ${JSON.stringify(rule.name)} (${rule.place}) allows it`]
        : [`DENY   no rule allows ${ask.name} to ${nameOf(ask)} (${origin})`]
  for (const one of against) lines.push(`       against it: ${one}`)
  if (nearest !== undefined) {
    const { name, place } = nearest.rule
    lines.push(`       nearest rule: ${JSON.stringify(name)} (${place}) ${nearest.miss}`)
  }
  for (const { name, left, spec } of budgets) {
    const isBytes = name.endsWith(' bytes')
    const amount = (value: number): string => (isBytes ? humanBytes(value) : String(value))
    const cost = isBytes ? 'its bytes' : '1'
    lines.push(
      `       costs ${cost} of the budget of ${name}: ${amount(left)} of ${amount(spec.amount)} left`,
    )
  }
  if (!isOffered) lines.push(`       this agent offers no ${ask.name}: METHOD_UNKNOWN`)
  return lines.join('\n')
}

function nameOf({ caller }: Ask): string {
  return caller.kind === 'service' ? caller.name : ''
}

function json({ ask, isOffered, origin, explanation }: Found): object {
  const { isAllowed, rule, why, against, nearest, budgets } = explanation
  return {
    decision: isAllowed && isOffered ? 'allow' : 'deny',
    offered: isOffered,
    policy: origin,
    type: ask.data?.carries ?? null,
    rule: rule === undefined ? null : { name: rule.name, place: rule.place },
    why: why ?? null,
    against,
    nearest: nearest && { name: nearest.rule.name, place: nearest.rule.place, miss: nearest.miss },
    budgets: budgets.map(({ name, left, spec }) => ({ name, left, amount: spec.amount })),
  }
}
