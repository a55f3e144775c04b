import { printable, type PosternError } from '../../base/errors.ts'
import type { ServiceHealth } from '../../dataplane/probes.ts'
import { identityUri } from '../../identity/name.ts'
import { addressText } from '../../base/address.ts'
import { STATUS_NAMES } from '../../rpc/status.ts'
import { VERSION } from '../../base/version.ts'
import type { Canary } from '../notices/notices.ts'
import type { Tunnel } from '../../tunnel/tunnel.ts'
import type { AgentRooms } from './rooms.ts'

/** What `agent status --json` prints. Times are ISO 8601, spans in ms. Fields are only ever added. */
export interface AgentStatus {
  readonly version: string
  readonly identity: string
  readonly startedAt: string
  readonly health: 'healthy' | 'degraded' | 'down'
  /** Since when it is that. */
  readonly healthSince: string
  /** Why it is not healthy, in words; empty when it is. */
  readonly reasons: readonly string[]
  /** The same, in the same order: since when. */
  readonly reasonsSince: readonly string[]
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
  /** What happened lately, oldest first; from before a restart, too. */
  readonly events: readonly { readonly at: string; readonly kind: string; readonly text: string }[]
  /** Why the tunnel was last down. */
  readonly lastError: {
    readonly code: string
    readonly message: string
    readonly at: string
  } | null
}

/** The status of one tunnel. */
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
  /** The last call that the gateway sent through this tunnel to see that it works; null before the first. */
  readonly canary: {
    readonly at: string
    /** How long the one before took, from the gateway's side of callers to us and back. */
    readonly latencyMs: number | null
    /** Those in a row, before it, that failed. */
    readonly failures: number
  } | null
  readonly streams: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Dials since the last success. */
  readonly attempt: number
  /** When the next dial is due; null while none waits. */
  readonly nextTryAt: string | null
}

/** Sums up how the rooms of an agent are. It changes nothing. */
export function agentStatus(agent: AgentRooms, nowWallMs: number): AgentStatus {
  const { settings, parts, store, changes, notices, services } = agent
  const { credential } = store
  const { server, policy } = services
  const tunnel = agent.tunnels.main
  const { lastError } = tunnel
  const expiresInMs = Math.round(credential.notAfterMs - nowWallMs)
  const { health, sinceMs, reasons } = agent.health.report()
  return {
    version: VERSION,
    identity: identityUri(credential.identity),
    startedAt: isoTime(agent.startedAtMs),
    health,
    healthSince: isoTime(sinceMs),
    reasons: reasons.map(({ text }) => text),
    reasonsSince: reasons.map((reason) => isoTime(reason.sinceMs)),
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
      notBefore: isoTime(credential.notBeforeMs),
      notAfter: isoTime(credential.notAfterMs),
      expiresInMs,
      renewsAt: changes.renewal === undefined ? null : isoTime(changes.renewal.dueAtMs),
      renewalError: errorOf(store.renewalError),
    },
    trust: { bundleVersion: store.trust.version, roots: store.roots.length },
    clock: { skewMs: changes.clockSkewMs ?? null },
    diagnosis:
      changes.diagnosis === undefined
        ? null
        : { verdict: changes.diagnosis.verdict, text: changes.diagnosis.text },
    warnings: notices.warnings.map(({ atMs, text }) => ({
      at: isoTime(atMs),
      text,
    })),
    services: settings.services.map(({ name, dataType, protocol, target }) => ({
      name,
      dataType,
      target: `${protocol}://${addressText(target)}`,
      health: healthOf(services.healths.find((one) => one.name === name)),
    })),
    events: agent.timeline.events.map(({ atMs, kind, text }) => ({
      at: isoTime(atMs),
      kind,
      text,
    })),
    lastError:
      lastError === undefined
        ? null
        : {
            code: lastError.code,
            message: lastError.rawMessage,
            at: isoTime(tunnel.lastErrorAtMs),
          },
  }
}

type ServiceStatus = AgentStatus['services'][number]

function healthOf(health: ServiceHealth | undefined): ServiceStatus['health'] {
  if (health === undefined) return null
  const { isDown, reason, sinceMs, latencyMs } = health
  const since = isoTime(sinceMs)
  return { up: !isDown, reason, since, latencyMs: latencyMs ?? null }
}

function canaryStatus(canary: Canary | undefined): TunnelStatus['canary'] {
  if (canary === undefined) return null
  const { atMs, latencyMs, failures } = canary
  return { at: isoTime(atMs), latencyMs: latencyMs ?? null, failures }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

function errorOf(error: PosternError | undefined): AgentStatus['certificate']['renewalError'] {
  return error === undefined ? null : { code: error.code, message: error.rawMessage }
}

function tunnelStatus(
  { settings, tunnels, canaries }: AgentRooms,
  { state }: Tunnel,
): TunnelStatus {
  const ready = state.name === 'ready' ? state : undefined
  const facts = ready?.connection.facts
  const session = ready?.connection.session
  const dialled = facts === undefined ? undefined : tunnels.addressOf(facts)
  return {
    state: state.name,
    since: ready === undefined ? null : isoTime(ready.sinceWallMs),
    address: addressText(dialled ?? settings['gateway.address']),
    // From its certificate, not from what it says of itself.
    gateway: facts?.identity.role === 'gateway' ? facts.identity.gateway : null,
    region: facts?.identity.role === 'gateway' ? facts.identity.region : null,
    gatewayVersion: ready === undefined ? null : printable(ready.welcome.gatewayVersion),
    tlsVersion: facts?.tlsVersion ?? null,
    cipher: facts?.cipher ?? null,
    keyExchange: facts?.group ?? null,
    rttMs: session?.rttMs ?? null,
    canary: ready === undefined ? null : canaryStatus(canaries.of(ready.welcome.gateway)),
    streams: session?.streamCount ?? 0,
    bytesIn: session?.bytesIn ?? 0,
    bytesOut: session?.bytesOut ?? 0,
    nextTryAt: state.name === 'backoff' ? isoTime(state.untilWallMs) : null,
    attempt: state.name === 'backoff' || state.name === 'connecting' ? state.attempt : 0,
  }
}

function byStatus(counts: readonly number[]): Record<string, number> {
  const entries = STATUS_NAMES.map((name, index) => [name, counts[index] ?? 0] as const)
  return Object.fromEntries(entries.filter(([, count]) => count > 0))
}
