import { create, type MessageInitShape as Init } from '@bufbuild/protobuf'
import {
  AgentStatusSchema,
  type AgentStatus,
  type AgentStatus_CanarySchema,
  type AgentStatus_ErrorSchema,
  type AgentStatus_ServiceHealthSchema,
  type AgentStatus_TunnelSchema,
} from '../../gen/postern/v1/agent_control_pb.js'
import { printable, type PosternError } from '../../base/errors.ts'
import type { ServiceHealth } from '../../dataplane/probes.ts'
import { identityUri } from '../../identity/name.ts'
import { addressText } from '../../base/address.ts'
import { STATUS_NAMES } from '../../rpc/status.ts'
import { VERSION } from '../../base/version.ts'
import type { Canary } from '../notices/notices.ts'
import type { Tunnel } from '../../tunnel/tunnel.ts'
import type { AgentRooms } from './rooms.ts'

/** Sums up how the rooms of an agent are. It changes nothing. */
export function agentStatus(agent: AgentRooms, nowWallMs: number): AgentStatus {
  const { settings, parts, store, changes, notices, services } = agent
  const { credential } = store
  const { server, policy } = services
  const tunnel = agent.tunnels.main
  const { lastError } = tunnel
  const expiresInMs = Math.round(credential.notAfterMs - nowWallMs)
  const { health, sinceMs, reasons } = agent.health.report()
  return create(AgentStatusSchema, {
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
      renewsAt: changes.renewal === undefined ? undefined : isoTime(changes.renewal.dueAtMs),
      renewalError: errorOf(store.renewalError),
    },
    trust: { bundleVersion: store.trust.version, roots: store.roots.length },
    clock: { skewMs: changes.clockSkewMs },
    diagnosis:
      changes.diagnosis === undefined
        ? undefined
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
        ? undefined
        : {
            code: lastError.code,
            message: lastError.rawMessage,
            at: isoTime(tunnel.lastErrorAtMs),
          },
  })
}

function healthOf(
  health: ServiceHealth | undefined,
): Init<typeof AgentStatus_ServiceHealthSchema> | undefined {
  if (health === undefined) return undefined
  const { isDown, reason, sinceMs, latencyMs } = health
  const since = isoTime(sinceMs)
  return { up: !isDown, reason, since, latencyMs }
}

function canaryStatus(
  canary: Canary | undefined,
): Init<typeof AgentStatus_CanarySchema> | undefined {
  if (canary === undefined) return undefined
  const { atMs, latencyMs, failures } = canary
  return { at: isoTime(atMs), latencyMs, failures }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

function errorOf(
  error: PosternError | undefined,
): Init<typeof AgentStatus_ErrorSchema> | undefined {
  return error === undefined ? undefined : { code: error.code, message: error.rawMessage }
}

function tunnelStatus(
  { settings, tunnels, canaries }: AgentRooms,
  { state }: Tunnel,
): Init<typeof AgentStatus_TunnelSchema> {
  const ready = state.name === 'ready' ? state : undefined
  const facts = ready?.connection.facts
  const session = ready?.connection.session
  const dialled = facts === undefined ? undefined : tunnels.addressOf(facts)
  return {
    state: state.name,
    since: ready === undefined ? undefined : isoTime(ready.sinceWallMs),
    address: addressText(dialled ?? settings['gateway.address']),
    // From its certificate, not from what it says of itself.
    gateway: facts?.identity.role === 'gateway' ? facts.identity.gateway : undefined,
    region: facts?.identity.role === 'gateway' ? facts.identity.region : undefined,
    gatewayVersion: ready === undefined ? undefined : printable(ready.welcome.gatewayVersion),
    tlsVersion: facts?.tlsVersion,
    cipher: facts?.cipher,
    keyExchange: facts?.group,
    rttMs: session?.rttMs,
    canary: ready === undefined ? undefined : canaryStatus(canaries.of(ready.welcome.gateway)),
    streams: session?.streamCount ?? 0,
    bytesIn: session?.bytesIn ?? 0,
    bytesOut: session?.bytesOut ?? 0,
    nextTryAt: state.name === 'backoff' ? isoTime(state.untilWallMs) : undefined,
    attempt: state.name === 'backoff' || state.name === 'connecting' ? state.attempt : 0,
  }
}

function byStatus(counts: readonly number[]): Record<string, number> {
  const entries = STATUS_NAMES.map((name, index) => [name, counts[index] ?? 0] as const)
  return Object.fromEntries(entries.filter(([, count]) => count > 0))
}
