import { create, type MessageInitShape as Init } from '@bufbuild/protobuf'
import { VERSION } from '../../base/version.ts'
import {
  AgentStatusSchema,
  type AgentStatus,
  type AgentStatus_CanarySchema,
  type AgentStatus_CertificateSchema,
  type AgentStatus_ConnectorSchema,
  type AgentStatus_GuardSchema,
  type AgentStatus_ServiceSchema,
  type AgentStatus_TunnelSchema,
  type AgentStatus_WaySchema,
} from '../../gen/postern/v1/agent_control_pb.js'
import { STATUS_NAMES } from '../../rpc/status.ts'
import type { ConnectorReport, WayReport } from '../carriers/carriers.ts'
import type { GuardReport } from '../guard/guard.ts'
import type { Canary } from '../notices/notices.ts'
import type { TunnelReport } from '../tunnels/tunnels.ts'
import type { AgentReport } from './report.ts'

/** Words what the rooms of an agent report. */
export function agentStatus(report: AgentReport, nowWallMs: number): AgentStatus {
  const { health, credential, changes, services, tunnels, notices } = report
  const tunnel = (one: TunnelReport): Init<typeof AgentStatus_TunnelSchema> =>
    tunnelStatus(one, notices.canaries)
  const { diagnosis, clockSkewMs } = changes
  const { running } = services
  const { allowed, denied } = report.guard
  return create(AgentStatusSchema, {
    version: VERSION,
    identity: credential.identity,
    startedAt: isoTime(report.startedAtMs),
    health: health.health,
    healthSince: isoTime(health.sinceMs),
    reasons: health.reasons.map(({ text }) => text),
    reasonsSince: health.reasons.map(({ sinceMs }) => isoTime(sinceMs)),
    tunnel: tunnel(tunnels.main),
    tunnels: tunnels.all.map(tunnel),
    tunnelsWanted: tunnels.wanted,
    calls: { running, allowed, denied, byStatus: byStatus(services.endedByStatus) },
    buffers: report.buffers,
    certificate: certificateStatus(report, nowWallMs),
    trust: { bundleVersion: credential.bundleVersion, roots: credential.roots },
    clock: { skewMs: clockSkewMs },
    diagnosis,
    warnings: notices.warnings.map(({ atMs, text }) => ({ at: isoTime(atMs), text })),
    services: services.services.map(serviceStatus),
    backends: [...services.dataPlane],
    events: report.events.map(({ atMs, kind, text }) => ({ at: isoTime(atMs), kind, text })),
    guard: guardStatus(report.guard),
    seal: report.seal,
    ways: tunnels.ways.ways.map(wayStatus),
    connector: tunnels.ways.connector && connectorStatus(tunnels.ways.connector),
    lastError: tunnels.lastError && {
      code: tunnels.lastError.code,
      message: tunnels.lastError.message,
      at: isoTime(tunnels.lastError.atMs),
    },
  })
}

function certificateStatus(
  { credential, changes }: AgentReport,
  nowMs: number,
): Init<typeof AgentStatus_CertificateSchema> {
  const { notBeforeMs, notAfterMs, renewalError } = credential
  return {
    notBefore: isoTime(notBeforeMs),
    notAfter: isoTime(notAfterMs),
    expiresInMs: Math.round(notAfterMs - nowMs),
    renewsAt: changes.renewal && isoTime(changes.renewal.dueAtMs),
    renewalError,
  }
}

function guardStatus(report: GuardReport): Init<typeof AgentStatus_GuardSchema> {
  const { policy, pushes, lockdown, budgets, observed, byType, record } = report
  return {
    policy: policy.origin,
    mode: policy.mode,
    rules: policy.rules.length,
    lockdown,
    pushes: pushes.map(({ gateway, policy: { document }, widening }) => ({
      gateway,
      rules: document.rules.length,
      widening: widening.map(({ name }) => name),
    })),
    budgets: [...budgets],
    observed,
    record,
    types: Object.entries(byType)
      .filter(([, { calls, refused }]) => calls + refused > 0)
      .map(([type, counts]) => ({ type, ...counts })),
  }
}

function serviceStatus({
  health,
  ...service
}: AgentReport['services']['services'][number]): Init<typeof AgentStatus_ServiceSchema> {
  if (health === undefined) return service
  const { isDown, reason, sinceMs, latencyMs } = health
  return { ...service, health: { up: !isDown, reason, since: isoTime(sinceMs), latencyMs } }
}

function wayStatus({
  failedAtMs,
  restsUntilMs,
  ...way
}: WayReport): Init<typeof AgentStatus_WaySchema> {
  return {
    ...way,
    failedAt: failedAtMs === undefined ? undefined : isoTime(failedAtMs),
    restsUntil: restsUntilMs === undefined ? undefined : isoTime(restsUntilMs),
  }
}

function connectorStatus({
  sinceMs,
  port: _port,
  errors,
  locations,
  ...connector
}: ConnectorReport): Init<typeof AgentStatus_ConnectorSchema> {
  return {
    ...connector,
    locations: [...locations],
    since: isoTime(sinceMs),
    errors: errors.map(({ atMs, text }) => ({ at: isoTime(atMs), text })),
  }
}

function tunnelStatus(
  { sinceMs, nextTryAtMs, welcomedBy, ...tunnel }: TunnelReport,
  canaries: ReadonlyMap<string, Canary>,
): Init<typeof AgentStatus_TunnelSchema> {
  const canary = welcomedBy === undefined ? undefined : canaries.get(welcomedBy)
  return {
    ...tunnel,
    since: sinceMs === undefined ? undefined : isoTime(sinceMs),
    nextTryAt: nextTryAtMs === undefined ? undefined : isoTime(nextTryAtMs),
    canary: canary && canaryStatus(canary),
  }
}

function canaryStatus({
  atMs,
  latencyMs,
  failures,
}: Canary): Init<typeof AgentStatus_CanarySchema> {
  return { at: isoTime(atMs), latencyMs, failures }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

function byStatus(counts: readonly number[]): Record<string, number> {
  const entries = STATUS_NAMES.map((name, index) => [name, counts[index] ?? 0] as const)
  return Object.fromEntries(entries.filter(([, count]) => count > 0))
}
