import type { Clock } from '../../base/clock.ts'
import { Metrics, type MetricRow, type Sample } from '../../base/metrics.ts'
import { BUILD_METRIC, buildSample } from '../../base/build-info.ts'
import { TYPE_METRICS, typeSamples } from '../../guard/type-counts.ts'
import { CALL_METRICS } from '../../rpc/call-counts.ts'
import type { BackendUseReport } from '../../dataplane/backend-use.ts'
import type { EventsReport } from '../../dataplane/events/events.ts'
import type { AgentReport } from './report.ts'
import type { AgentRooms } from './rooms.ts'

/** What `metrics.listen` of the agent shows. */
export const AGENT_METRICS: readonly MetricRow[] = [
  BUILD_METRIC,
  ...CALL_METRICS,
  {
    name: 'postern_policy_decisions_total',
    kind: 'counter',
    help: 'Decisions of the policy on calls and forwards: allowed or denied.',
    labels: ['result'],
  },
  ...TYPE_METRICS,
  {
    name: 'postern_lockdown',
    kind: 'gauge',
    help: '1 while the customer has locked the agent down, else 0.',
  },
  {
    name: 'postern_tunnel_up',
    kind: 'gauge',
    help: '1 while a tunnel is welcomed by a gateway, else 0.',
  },
  {
    name: 'postern_agent_tunnels',
    kind: 'gauge',
    help: 'Tunnels by state: up, or wanted.',
    labels: ['state'],
  },
  {
    name: 'postern_agent_tunnels_by_way',
    kind: 'gauge',
    help: 'Tunnels that are up, by the way that they took (setting via).',
    labels: ['way'],
  },
  {
    name: 'postern_connector_ready',
    kind: 'gauge',
    help: '1 while the cloudflared that the agent supervises is ready, else 0; absent where it supervises none, as all of these. Its own metrics follow ours, as it says them.',
  },
  {
    name: 'postern_connector_edge_connections',
    kind: 'gauge',
    help: 'Connections of cloudflared to the edge, as it says.',
  },
  {
    name: 'postern_connector_starts_total',
    kind: 'counter',
    help: 'Starts of cloudflared by this process.',
  },
  {
    name: 'postern_connector_strangers_total',
    kind: 'counter',
    help: 'Connections to cloudflared.listen that were not of cloudflared, and were closed.',
  },
  {
    name: 'postern_service_up',
    kind: 'gauge',
    help: '1 while the probes of a service say that it is up, else 0; absent for what is not probed.',
    labels: ['service'],
  },
  {
    name: 'postern_probe_duration_seconds',
    kind: 'gauge',
    help: 'How long the last probe of a service took.',
    labels: ['service'],
  },
  {
    name: 'postern_backend_uses_total',
    kind: 'counter',
    help: 'Uses of what lies behind the data plane, by its row in the settings and what came of it (succeeded; refused by us; failed by the backend or the way to it).',
    labels: ['setting', 'name', 'result'],
  },
  {
    name: 'postern_backend_seconds_total',
    kind: 'counter',
    help: 'How long these took together.',
    labels: ['setting', 'name'],
  },
  {
    name: 'postern_run_events_total',
    kind: 'counter',
    help: 'Events of runs by what became of them (accepted, delivered; refused for want of room; dropped as the control plane does not take them).',
    labels: ['result'],
  },
  {
    name: 'postern_run_events_waiting',
    kind: 'gauge',
    help: 'Events of runs that wait in memory for the control plane.',
  },
  {
    name: 'postern_run_events_spilled_bytes',
    kind: 'gauge',
    help: 'Bytes of events of runs on disk.',
  },
  {
    name: 'postern_certificate_expiry_seconds',
    kind: 'gauge',
    help: 'Seconds until the certificate of the agent ends; negative once it has.',
  },
  {
    name: 'postern_certificate_not_after_timestamp_seconds',
    kind: 'gauge',
    help: 'When the certificate of the agent ends.',
  },
  {
    name: 'postern_certificate_renewal_timestamp_seconds',
    kind: 'gauge',
    help: 'When its next renewal is due; absent where somebody else manages it.',
  },
  {
    name: 'postern_certificate_renewals_total',
    kind: 'counter',
    help: 'Renewals of this process.',
    labels: ['result'],
  },
  {
    name: 'postern_trust_bundle_version',
    kind: 'gauge',
    help: 'Version of the signed trust bundle that is held.',
  },
  {
    name: 'postern_clock_skew_seconds',
    kind: 'gauge',
    help: 'The clock of the gateway less ours; absent until it told its time.',
  },
]

/** Makes the metrics of an agent, which are read when somebody asks. */
export function agentMetrics(agent: Pick<AgentRooms, 'report' | 'tunnels'>, clock: Clock): Metrics {
  const collect = (): Promise<Sample[]> => Promise.resolve(samples(agent.report(), clock.wallMs()))
  return new Metrics(AGENT_METRICS, collect, () => agent.tunnels.carrierMetrics())
}

function samples(report: AgentReport, nowMs: number): Sample[] {
  const { tunnels, credential, changes, services, guard } = report
  const decisions = 'postern_policy_decisions_total'
  const found: Sample[] = [
    buildSample('agent'),
    ...services.calls,
    { name: decisions, value: guard.allowed, labels: { result: 'allowed' } },
    { name: decisions, value: guard.denied, labels: { result: 'denied' } },
    ...typeSamples(guard.byType),
    { name: 'postern_lockdown', value: guard.lockdown === undefined ? 0 : 1 },
    { name: 'postern_tunnel_up', value: tunnels.up > 0 ? 1 : 0 },
    { name: 'postern_agent_tunnels', value: tunnels.up, labels: { state: 'up' } },
    { name: 'postern_agent_tunnels', value: tunnels.wanted, labels: { state: 'wanted' } },
    {
      name: 'postern_certificate_expiry_seconds',
      value: (credential.notAfterMs - nowMs) / 1000,
    },
    {
      name: 'postern_certificate_not_after_timestamp_seconds',
      value: credential.notAfterMs / 1000,
    },
    { name: 'postern_trust_bundle_version', value: credential.bundleVersion },
    ...waySamples(tunnels),
    ...services.services.flatMap(probeSamples),
    ...services.backends.flatMap(backendSamples),
    ...(report.runs === undefined ? [] : eventSamples(report.runs)),
  ]
  const { clockSkewMs, renewal } = changes
  if (clockSkewMs !== undefined)
    found.push({ name: 'postern_clock_skew_seconds', value: clockSkewMs / 1000 })
  if (renewal === undefined) return found
  const { dueAtMs, succeeded, failed } = renewal
  const renewals = 'postern_certificate_renewals_total'
  return [
    ...found,
    { name: 'postern_certificate_renewal_timestamp_seconds', value: dueAtMs / 1000 },
    { name: renewals, value: succeeded, labels: { result: 'succeeded' } },
    { name: renewals, value: failed, labels: { result: 'failed' } },
  ]
}

function waySamples({ ways: { ways, connector }, all }: AgentReport['tunnels']): Sample[] {
  const found = ways.map(({ name: way }) => ({
    name: 'postern_agent_tunnels_by_way',
    value: all.filter(({ via }) => via === way).length,
    labels: { way },
  }))
  if (connector === undefined) return found
  const { state, connections, starts, refused } = connector
  return [
    ...found,
    { name: 'postern_connector_ready', value: state === 'ready' ? 1 : 0 },
    { name: 'postern_connector_edge_connections', value: connections },
    { name: 'postern_connector_starts_total', value: starts },
    { name: 'postern_connector_strangers_total', value: refused },
  ]
}

function backendSamples({ setting, name, results, seconds }: BackendUseReport): Sample[] {
  const labels = { setting, name }
  const uses = Object.entries(results).map(([result, value]) => ({
    ...{ name: 'postern_backend_uses_total', value, labels: { ...labels, result } },
  }))
  return [...uses, { name: 'postern_backend_seconds_total', value: seconds, labels }]
}

function eventSamples({ waiting, spilled, ...counts }: EventsReport): Sample[] {
  const total = (['accepted', 'delivered', 'refused', 'dropped'] as const).map((result) => ({
    name: 'postern_run_events_total',
    value: counts[result],
    labels: { result },
  }))
  const now = { name: 'postern_run_events_waiting', value: waiting }
  if (spilled === undefined) return [...total, now]
  return [...total, now, { name: 'postern_run_events_spilled_bytes', value: spilled }]
}

function probeSamples({ health }: AgentReport['services']['services'][number]): Sample[] {
  if (health === undefined) return []
  const { name: service, isDown, latencyMs } = health
  const labels = { service }
  const up = { name: 'postern_service_up', value: isDown ? 0 : 1, labels }
  if (latencyMs === undefined) return [up]
  return [up, { name: 'postern_probe_duration_seconds', value: latencyMs / 1000, labels }]
}
