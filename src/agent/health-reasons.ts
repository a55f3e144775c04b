import type { TunnelState } from '../tunnel/lifecycle.ts'
import type { PosternError } from '../base/errors.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import type { Credential } from '../identity/key-files.ts'
import { CANARY_FEATURE, type Canaries, type Canary } from './canaries.ts'
import type { Reason } from './health-judge.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import type { NoticeTaker } from './notice-taker.ts'
import type { Serving } from './serving.ts'
import type { TunnelCare } from './tunnel-care.ts'
import type { Tunnels } from './tunnels.ts'

/** What is looked at: the parts of an agent. */
export interface HealthSources {
  readonly settings: AgentSettings
  readonly tunnels: Tunnels
  /** A tunnel has been up since the start. */
  readonly wasUp: boolean
  readonly canaries: Canaries
  readonly credential: Credential
  readonly care: TunnelCare
  readonly notices: NoticeTaker
  readonly keeper: IdentityKeeper
  readonly serving: Serving
  /** Why the settings that were to be taken over are not. */
  readonly renewal?: { readonly lastError: PosternError | undefined } | undefined
  readonly reloadError: PosternError | undefined
}

/** A certificate with less left, or with less than a quarter of its life, should have been renewed. */
const EXPIRY_WARN_MS = 3_600_000
/** Certificates are backdated by 5 min: a clock this far off is soon in the way. */
const SKEW_WARN_MS = 60_000
/** A warning is a reason for this long. */
const WARNING_MS = 3_600_000

/** Where a gateway has not said how often it calls. */
const CANARY_MS = 15_000
/** So many intervals without a canary call, and none comes through any more. */
const CANARIES_MISSED = 3

/** Everything that keeps an agent from being healthy, at this moment. */
export function healthReasons(agent: HealthSources, nowMs: number): Reason[] {
  return [
    ...tunnelReasons(agent),
    ...canaryReasons(agent, nowMs),
    ...certificateReasons(agent, nowMs),
    ...otherReasons(agent, nowMs),
  ]
}

/** Whether calls come through, rather than whether something was connected once. */
function canaryReasons({ tunnels, canaries, settings }: HealthSources, nowMs: number): Reason[] {
  const latencyMsMax = settings['health.latency']
  const found = tunnels.ready.flatMap(({ welcome, sinceWallMs }) => {
    if (!welcome.features.includes(CANARY_FEATURE)) return []
    const { gateway } = welcome
    const canary = canaries.of(gateway)
    const why = canaryFault(canary, sinceWallMs, nowMs, latencyMsMax)
    return why === undefined ? [] : [{ gateway, ...why }]
  })
  const dead = found.filter(({ isDead }) => isDead).length
  return found.map(({ gateway, text, isDead }) => ({
    key: `canary ${gateway}`,
    text: `through gateway ${gateway}: ${text}`,
    isDown: isDead && dead === tunnels.ready.length,
  }))
}

function canaryFault(
  canary: Canary | undefined,
  upSinceMs: number,
  nowMs: number,
  latencyMsMax: number,
): { text: string; isDead: boolean } | undefined {
  const { atMs = 0, intervalMs = CANARY_MS, latencyMs = 0, failures = 0 } = canary ?? {}
  const quietMs = nowMs - Math.max(atMs, upSinceMs)
  if (quietMs > CANARIES_MISSED * intervalMs + CANARY_MS) {
    const text = `no call has come through for ${String(Math.round(quietMs / 1000))} s`
    return { text, isDead: true }
  }
  if (atMs < upSinceMs) return undefined
  if (failures > 0)
    return { text: `${String(failures)} canary calls failed in a row`, isDead: false }
  if (latencyMs <= latencyMsMax) return undefined
  return { text: `a call takes ${String(Math.round(latencyMs))} ms there and back`, isDead: false }
}

function tunnelReasons({ tunnels, wasUp }: HealthSources): Reason[] {
  const { length: up } = tunnels.ready
  const which = tunnels.wanted === 1 ? 'the' : 'a'
  const found: Reason[] = tunnels.all.flatMap(({ state }, index) => {
    const text = textOf(state, `${which} tunnel`)
    if (text === undefined) return []
    return [{ key: `tunnel ${String(index)}`, text, isDown: up === 0, isDelayed: wasUp }]
  })
  if (up === 0 || up >= tunnels.wanted) return found
  const text = `${String(up)} of ${String(tunnels.wanted)} tunnels is up`
  return [{ key: 'tunnels', text, isDelayed: true }, ...found]
}

function textOf(state: TunnelState, what: string): string | undefined {
  switch (state.name) {
    case 'ready':
      return undefined
    case 'backoff': {
      const { code, rawMessage, recovery } = state.cause
      const next =
        recovery === 'give-up' ? 'this will not mend by itself; retrying slowly' : 'retrying'
      return `${what} is down: ${code}: ${rawMessage} (${next})`
    }
    default:
      return `${what} is ${state.name}`
  }
}

function certificateReasons({ credential }: HealthSources, nowMs: number): Reason[] {
  const { notBeforeMs, notAfterMs } = credential
  const leftMs = notAfterMs - nowMs
  const key = 'certificate'
  if (leftMs <= 0) return [{ key, text: 'our certificate has expired' }]
  if (leftMs > Math.min(EXPIRY_WARN_MS, (notAfterMs - notBeforeMs) / 4)) return []
  return [{ key, text: `our certificate expires in ${String(Math.round(leftMs / 60_000))} min` }]
}

function otherReasons(
  { care, notices, keeper, serving, reloadError, renewal }: HealthSources,
  nowMs: number,
): Reason[] {
  const found: Reason[] = serving.healths
    .filter(({ isDown }) => isDown)
    .map(({ name, reason }) => ({
      key: `service ${name}`,
      text: `service ${name} is down: ${reason}`,
    }))
  const add = (key: string, text: string): void => {
    found.push({ key, text })
  }
  const { diagnosis, clockSkewMs = 0 } = care
  if (diagnosis !== undefined)
    add(
      'diagnosis',
      `the gateway says of our certificate: ${diagnosis.verdict} (${diagnosis.text})`,
    )
  if (Math.abs(clockSkewMs) > SKEW_WARN_MS) {
    const seconds = String(Math.round(Math.abs(clockSkewMs) / 1000))
    const side = clockSkewMs > 0 ? 'behind' : 'ahead of'
    add('clock', `our clock is ${seconds} s ${side} the gateway's`)
  }
  const failure = renewal?.lastError
  if (failure !== undefined && failure.recovery !== 'retry')
    add('renewal', `the certificate cannot be renewed: ${failure.code}: ${failure.rawMessage}`)
  if (keeper.lastError !== undefined)
    add('identity', `the identity on disk is not in order: ${keeper.lastError.rawMessage}`)
  for (const { atMs, text } of notices.warnings)
    if (nowMs - atMs < WARNING_MS) add(`warning ${text}`, `the gateway warns: ${text}`)
  if (reloadError !== undefined)
    add('settings', `the settings on disk are not in force: ${reloadError.rawMessage}`)
  return found
}
