import { printable, type PosternError } from '../base/errors.ts'
import type { Credential } from '../identity/key-files.ts'
import type { ServiceHealth } from '../dataplane/probes.ts'
import { identityUri } from '../identity/name.ts'
import { addressText } from '../config/address.ts'
import { STATUS_NAMES } from '../rpc/status.ts'
import { VERSION } from '../base/version.ts'
import type { TunnelState } from '../tunnel/lifecycle.ts'
import type { Tunnel } from '../tunnel/tunnel.ts'
import type { Agent } from './agent.ts'

/** What `agent status --json` prints. Times are ISO 8601, spans in ms. Fields are only ever added. */
export interface AgentStatus {
  readonly version: string
  readonly identity: string
  readonly startedAt: string
  readonly health: 'healthy' | 'degraded' | 'down'
  /** Why it is not healthy, in words; empty when it is. */
  readonly reasons: readonly string[]
  /** The best of the tunnels. */
  readonly tunnel: TunnelStatus
  /** Each of them, and how many there are to be. */
  readonly tunnels: readonly TunnelStatus[]
  readonly tunnelsWanted: number
  readonly calls: {
    readonly running: number
    readonly allowed: number
    readonly denied: number
    /** Ended calls by gRPC status. */
    readonly byStatus: Readonly<Record<string, number>>
  }
  readonly buffers: { readonly reservedBytes: number; readonly bytesMax: number }
  readonly certificate: {
    readonly notBefore: string
    readonly notAfter: string
    readonly expiresInMs: number
    /** When it is due for renewal; null where somebody else manages it. */
    readonly renewsAt: string | null
    /** Why the last try failed, until one succeeds. */
    readonly renewalError: { readonly code: string; readonly message: string } | null
  }
  readonly trust: {
    /** Version of the signed trust bundle that is held; 0 before the first. */
    readonly bundleVersion: number
    readonly roots: number
  }
  readonly clock: {
    /** The gateway's clock less ours; null until it told its time. */
    readonly skewMs: number | null
  }
  /** What the gateway says of our certificate, where it last refused us. */
  readonly diagnosis: { readonly verdict: string; readonly text: string } | null
  /** What the gateway warned of, oldest first. */
  readonly warnings: readonly { readonly at: string; readonly text: string }[]
  readonly services: readonly {
    readonly name: string
    readonly dataType: string
    readonly target: string
    /** What its probes say; null where it is not probed, or was not looked at yet. */
    readonly health: {
      readonly up: boolean
      readonly reason: string
      readonly since: string
      readonly latencyMs: number | null
    } | null
  }[]
  /** Why the tunnel was last down. */
  readonly lastError: {
    readonly code: string
    readonly message: string
    readonly at: string
  } | null
}

export interface TunnelStatus {
  readonly state: string
  /** Since when the tunnel is up; null while it is not. */
  readonly since: string | null
  /** Where it was dialled; while it is not up, gateway.address of the settings. */
  readonly address: string
  readonly gateway: string | null
  readonly region: string | null
  readonly gatewayVersion: string | null
  readonly tlsVersion: string | null
  readonly cipher: string | null
  readonly keyExchange: string | null
  readonly rttMs: number | null
  readonly streams: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Dials since the last success. */
  readonly attempt: number
  /** When the next dial is due; null while none waits. */
  readonly nextTryAt: string | null
}

/** A certificate with less left, or with less than a quarter of its life, should have been renewed. */
const EXPIRY_WARN_MS = 3_600_000
/** Certificates are backdated by 5 min: a clock this far off is soon in the way. */
const SKEW_WARN_MS = 60_000
/** A warning is a reason for this long. */
const WARNING_MS = 3_600_000

export function agentStatus(agent: Agent, nowWallMs: number): AgentStatus {
  const { credential, tunnel, settings, policy, server, parts } = agent
  const { lastError } = tunnel
  const expiresInMs = Math.round(credential.notAfterMs - nowWallMs)
  const { care, notices, keeper } = agent
  const reasons = [
    ...tunnelReasons(agent),
    ...certificateReasons(credential, nowWallMs),
    ...otherReasons(agent, nowWallMs),
  ]
  const isUp = agent.tunnels.ready.length > 0
  return {
    version: VERSION,
    identity: identityUri(agent.identity),
    startedAt: new Date(agent.startedAtMs).toISOString(),
    health: isUp ? (reasons.length === 0 ? 'healthy' : 'degraded') : 'down',
    reasons,
    tunnel: tunnelStatus(agent, tunnel),
    tunnels: agent.tunnels.all.map((one) => tunnelStatus(agent, one)),
    tunnelsWanted: agent.tunnels.wanted,
    calls: {
      running: server.runningCount,
      allowed: policy.allowed,
      denied: policy.denied,
      byStatus: byStatus(parts.runtime.served),
    },
    buffers: { reservedBytes: parts.budget.reservedBytes, bytesMax: parts.budget.bytesMax },
    certificate: {
      notBefore: new Date(credential.notBeforeMs).toISOString(),
      notAfter: new Date(credential.notAfterMs).toISOString(),
      expiresInMs,
      renewsAt: agent.renewal === undefined ? null : new Date(agent.renewal.dueAtMs).toISOString(),
      renewalError: errorOf(agent.renewal?.lastError),
    },
    trust: { bundleVersion: keeper.trust.version, roots: keeper.roots.length },
    clock: { skewMs: care.clockSkewMs ?? null },
    diagnosis:
      care.diagnosis === undefined
        ? null
        : { verdict: care.diagnosis.verdict, text: care.diagnosis.text },
    warnings: notices.warnings.map(({ atMs, text }) => ({
      at: new Date(atMs).toISOString(),
      text,
    })),
    services: settings.services.map(({ name, dataType, protocol, target }) => ({
      name,
      dataType,
      target: `${protocol}://${addressText(target)}`,
      health: healthOf(agent.probes.healths.find((one) => one.name === name)),
    })),
    lastError:
      lastError === undefined
        ? null
        : {
            code: lastError.code,
            message: lastError.rawMessage,
            at: new Date(tunnel.lastErrorAtMs).toISOString(),
          },
  }
}

type ServiceStatus = AgentStatus['services'][number]

function healthOf(health: ServiceHealth | undefined): ServiceStatus['health'] {
  if (health === undefined) return null
  const { isDown, reason, sinceMs, latencyMs } = health
  const since = new Date(sinceMs).toISOString()
  return { up: !isDown, reason, since, latencyMs: latencyMs ?? null }
}

function errorOf(error: PosternError | undefined): AgentStatus['certificate']['renewalError'] {
  return error === undefined ? null : { code: error.code, message: error.rawMessage }
}

function tunnelStatus({ settings, link }: Agent, { state }: Tunnel): TunnelStatus {
  const ready = state.name === 'ready' ? state : undefined
  const facts = ready?.connection.facts
  const session = ready?.connection.session
  const dialled = facts === undefined ? undefined : link.addressOf(facts)
  return {
    state: state.name,
    since: ready === undefined ? null : new Date(ready.sinceWallMs).toISOString(),
    address: addressText(dialled ?? settings['gateway.address']),
    // From its certificate, not from what it says of itself.
    gateway: facts?.identity.role === 'gateway' ? facts.identity.gateway : null,
    region: facts?.identity.role === 'gateway' ? facts.identity.region : null,
    gatewayVersion: ready === undefined ? null : printable(ready.welcome.gatewayVersion),
    tlsVersion: facts?.tlsVersion ?? null,
    cipher: facts?.cipher ?? null,
    keyExchange: facts?.group ?? null,
    rttMs: session?.rttMs ?? null,
    streams: session?.streamCount ?? 0,
    bytesIn: session?.bytesIn ?? 0,
    bytesOut: session?.bytesOut ?? 0,
    nextTryAt: state.name === 'backoff' ? new Date(state.untilWallMs).toISOString() : null,
    attempt: state.name === 'backoff' || state.name === 'connecting' ? state.attempt : 0,
  }
}

function tunnelReasons({ tunnels }: Agent): string[] {
  const which = tunnels.wanted === 1 ? 'the' : 'a'
  const reasons = tunnels.all.flatMap(({ state }) => reasonsOf(state, `${which} tunnel`))
  const { length: up } = tunnels.ready
  if (up === 0 || up >= tunnels.wanted) return reasons
  return [`${String(up)} of ${String(tunnels.wanted)} tunnels is up`, ...reasons]
}

function reasonsOf(state: TunnelState, what: string): string[] {
  switch (state.name) {
    case 'ready':
      return []
    case 'backoff': {
      const { code, rawMessage, recovery } = state.cause
      const next =
        recovery === 'give-up' ? 'this will not mend by itself; retrying slowly' : 'retrying'
      return [`${what} is down: ${code}: ${rawMessage} (${next})`]
    }
    default:
      return [`${what} is ${state.name}`]
  }
}

function certificateReasons({ notBeforeMs, notAfterMs }: Credential, nowMs: number): string[] {
  const leftMs = notAfterMs - nowMs
  if (leftMs <= 0) return ['our certificate has expired']
  if (leftMs > Math.min(EXPIRY_WARN_MS, (notAfterMs - notBeforeMs) / 4)) return []
  return [`our certificate expires in ${String(Math.round(leftMs / 60_000))} min`]
}

function otherReasons({ care, notices, keeper, probes }: Agent, nowMs: number): string[] {
  const reasons = probes.healths
    .filter(({ isDown }) => isDown)
    .map(({ name, reason }) => `service ${name} is down: ${reason}`)
  const { diagnosis, clockSkewMs = 0 } = care
  if (diagnosis !== undefined)
    reasons.push(`the gateway says of our certificate: ${diagnosis.verdict} (${diagnosis.text})`)
  if (Math.abs(clockSkewMs) > SKEW_WARN_MS) {
    const seconds = String(Math.round(Math.abs(clockSkewMs) / 1000))
    const side = clockSkewMs > 0 ? 'behind' : 'ahead of'
    reasons.push(`our clock is ${seconds} s ${side} the gateway's`)
  }
  if (keeper.lastError !== undefined)
    reasons.push(`the identity on disk is not in order: ${keeper.lastError.rawMessage}`)
  for (const { atMs, text } of notices.warnings)
    if (nowMs - atMs < WARNING_MS) reasons.push(`the gateway warns: ${text}`)
  return reasons
}

function byStatus(counts: readonly number[]): Record<string, number> {
  const entries = STATUS_NAMES.map((name, index) => [name, counts[index] ?? 0] as const)
  return Object.fromEntries(entries.filter(([, count]) => count > 0))
}
