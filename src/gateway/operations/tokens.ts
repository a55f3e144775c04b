import { PosternError } from '../../base/errors.ts'
import { rootPins } from '../../identity/certificate-files.ts'
import { isLabel } from '../../identity/name.ts'
import type { TokenRow } from '../../store/schema.ts'
import { gatewayFiles, Tokens } from '../ca/ca.ts'
import type { Operator, StoreTools } from './store-tools.ts'

const USES_MAX = 10_000

/** What a join token is to be good for. */
export interface TokenRequest {
  readonly cluster: string
  /** Undefined: each use makes a name. */
  readonly agent: string | undefined
  /** How many agents may enroll with it: 1 to 10 000; 1 where it names an agent. */
  readonly uses: number
  readonly ttlMs: number
}

/** A join token, which is shown once and kept nowhere. */
export interface CreatedToken {
  readonly id: string
  readonly token: string
  readonly expiresAtMs: number
  /** Pins of the roots that the joining agent is to trust. */
  readonly pins: readonly string[]
}

/** A join token as it stands in the store. */
export interface ListedToken {
  readonly id: string
  readonly cluster: string
  readonly agent: string | null
  readonly usesLeft: number
  readonly expiresAtMs: number
  readonly state: 'good' | 'used up' | 'expired' | 'revoked'
}

/** Makes a join token. @throws USAGE */
export async function createToken(
  { records, random, settings }: StoreTools,
  request: TokenRequest,
  { actor, nowMs }: Operator,
): Promise<CreatedToken> {
  judge(request)
  const { id, token } = await new Tokens(records, random).create({ ...request, actor }, nowMs)
  const pins = rootPins(gatewayFiles(settings).bundleFile)
  return { id, token, expiresAtMs: nowMs + request.ttlMs, pins }
}

/** Lists all join tokens that the store knows. */
export async function listTokens(
  { records, random }: StoreTools,
  nowMs: number,
): Promise<ListedToken[]> {
  return (await new Tokens(records, random).list()).map((row) => ({
    id: row.id,
    cluster: row.cluster,
    agent: row.agent,
    usesLeft: row.uses_left,
    expiresAtMs: row.expires_at,
    state: stateOf(row, nowMs),
  }))
}

/** Makes a join token useless; agents that enrolled with it stay. @throws NOT_KNOWN */
export async function revokeToken(
  { records, random }: StoreTools,
  id: string,
  { actor, nowMs }: Operator,
): Promise<void> {
  await new Tokens(records, random).revoke(id, actor, nowMs)
}

function stateOf(row: TokenRow, nowMs: number): ListedToken['state'] {
  if (row.revoked_at !== null) return 'revoked'
  if (row.uses_left <= 0) return 'used up'
  return row.expires_at <= nowMs ? 'expired' : 'good'
}

function judge({ cluster, agent, uses }: TokenRequest): void {
  for (const [option, name] of [
    ['cluster', cluster],
    ['agent', agent ?? 'none'],
  ] as const)
    if (!isLabel(name))
      throw new PosternError('USAGE', `--${option} must be 1 to 63 of a-z, 0-9 and inner hyphens`)
  if (!Number.isInteger(uses) || uses < 1 || uses > USES_MAX)
    throw new PosternError('USAGE', `--uses must be a number from 1 to ${String(USES_MAX)}`)
  if (agent === undefined || uses === 1) return
  const text = 'a token for one agent has one use; leave out --agent or --uses'
  throw new PosternError('USAGE', text)
}
