import type { Clock } from '../../base/clock.ts'
import { Metrics, type MetricRow, type Sample } from '../../base/metrics.ts'
import type { IssuedReport } from '../ca/ca.ts'
import { BUILD_METRIC, buildSample } from '../../base/build-info.ts'
import { CALL_METRICS } from '../../rpc/call-counts.ts'
import type { GatewayReport, GatewayRooms } from './report.ts'

/** Clusters that have a series of their own. */
const CLUSTERS_MAX = 1000

/** What `metrics.listen` of the gateway shows. */
export const GATEWAY_METRICS: readonly MetricRow[] = [
  BUILD_METRIC,
  {
    name: 'postern_tunnels',
    kind: 'gauge',
    help: 'Registered tunnels.',
  },
  {
    name: 'postern_clusters',
    kind: 'gauge',
    help: 'Clusters with a tunnel.',
  },
  {
    name: 'postern_cluster_tunnels',
    kind: 'gauge',
    help: 'Tunnels of a cluster, of the first 1 000 by name.',
    labels: ['cluster'],
  },
  ...CALL_METRICS,
  {
    name: 'postern_relayed_bytes_total',
    kind: 'counter',
    help: 'Bytes of calls and forwards that went through, beside their heads, by direction: to_agents or to_callers.',
    labels: ['direction'],
  },
  {
    name: 'postern_calls_relayed_total',
    kind: 'counter',
    help: 'Calls and forwards relayed into tunnels.',
  },
  {
    name: 'postern_api_connections',
    kind: 'gauge',
    help: 'Connections to api.listen and api.tokenListen.',
  },
  {
    name: 'postern_api_callers',
    kind: 'gauge',
    help: 'Callers that have called by the API in the last half minute.',
  },
  {
    name: 'postern_streams',
    kind: 'gauge',
    help: 'Streams that run on connections of callers.',
  },
  {
    name: 'postern_admissions_deferred_total',
    kind: 'counter',
    help: 'Agents that were told to come back later.',
  },
  {
    name: 'postern_canary_failing',
    kind: 'gauge',
    help: 'Tunnels whose last canary call failed.',
  },
  {
    name: 'postern_canary_latency_seconds_max',
    kind: 'gauge',
    help: 'The slowest of the last canary calls; absent where there is none.',
  },
  {
    name: 'postern_services_down',
    kind: 'gauge',
    help: 'Services that agents say are down, counted for each tunnel.',
  },
  {
    name: 'postern_certificate_expiry_seconds',
    kind: 'gauge',
    help: 'Seconds until a certificate of the control plane ends: gateway, agents-ca, gateways-ca, or the root that ends first.',
    labels: ['certificate'],
  },
  {
    name: 'postern_agent_certificate_expiry_seconds_min',
    kind: 'gauge',
    help: 'Seconds until the first of the live certificates of agents ends; absent where there is none.',
  },
  {
    name: 'postern_agent_certificates',
    kind: 'gauge',
    help: 'Certificates of agents that have not expired, by state.',
    labels: ['state'],
  },
  {
    name: 'postern_enrolment_answers_total',
    kind: 'counter',
    help: 'Answers of the enrolment listeners that issued something or refused it: issued, or the code of the refusal.',
    labels: ['result'],
  },
  {
    name: 'postern_denials',
    kind: 'gauge',
    help: 'Entries in the list of who is let in no more.',
  },
  {
    name: 'postern_ca_generations',
    kind: 'gauge',
    help: 'Generations of CAs by phase; more than one active or a previous one: a change is under way.',
    labels: ['phase'],
  },
]

/** Makes the metrics of a gateway, which are read when somebody asks. */
export function gatewayMetrics(
  gateway: Pick<GatewayRooms, 'report' | 'reportIssued'>,
  clock: Clock,
): Metrics {
  return new Metrics(GATEWAY_METRICS, async () => {
    const nowMs = clock.wallMs()
    const issued = await gateway.reportIssued(nowMs)
    const report = gateway.report()
    return [
      ...tunnelSamples(report),
      ...expirySamples(report, nowMs),
      ...storeSamples(report),
      ...(issued === undefined ? [] : issuedSamples(issued, nowMs)),
    ]
  })
}

function tunnelSamples({ clusters, callers, api, deferred }: GatewayReport): Sample[] {
  const { relayed, calls, bytes, streams } = callers
  const { canaryMsMax } = clusters
  const byCluster = [...clusters.tunnelsOf]
    .slice(0, CLUSTERS_MAX)
    .map(([cluster, value]) => ({ name: 'postern_cluster_tunnels', value, labels: { cluster } }))
  const relayedBytes = 'postern_relayed_bytes_total'
  return [
    buildSample('gateway'),
    ...byCluster,
    ...calls,
    { name: relayedBytes, value: bytes.toAgents, labels: { direction: 'to_agents' } },
    { name: relayedBytes, value: bytes.toCallers, labels: { direction: 'to_callers' } },
    { name: 'postern_tunnels', value: clusters.tunnels },
    { name: 'postern_clusters', value: clusters.tunnelsOf.size },
    { name: 'postern_calls_relayed_total', value: relayed },
    { name: 'postern_streams', value: streams },
    { name: 'postern_api_connections', value: api.connections },
    { name: 'postern_api_callers', value: api.callers },
    { name: 'postern_admissions_deferred_total', value: deferred },
    { name: 'postern_canary_failing', value: clusters.canariesFailing },
    ...(canaryMsMax === undefined
      ? []
      : [{ name: 'postern_canary_latency_seconds_max', value: canaryMsMax / 1000 }]),
    { name: 'postern_services_down', value: clusters.servicesDown },
  ]
}

function expirySamples({ own, ca }: GatewayReport, nowMs: number): Sample[] {
  const expiry = (certificate: string, notAfterMs: number): Sample => ({
    name: 'postern_certificate_expiry_seconds',
    value: (notAfterMs - nowMs) / 1000,
    labels: { certificate },
  })
  const found = [expiry('gateway', own.notAfterMs), expiry('root', own.rootNotAfterMs)]
  if (ca === undefined) return found
  return [
    ...found,
    expiry('agents-ca', ca.agentsNotAfterMs),
    expiry('gateways-ca', ca.gatewaysNotAfterMs),
  ]
}

function storeSamples({ access, ca, enrolment }: GatewayReport): Sample[] {
  if (access === undefined) return []
  const found: Sample[] = [{ name: 'postern_denials', value: access.denials }]
  for (const [phase, value] of ca?.generations ?? [])
    found.push({ name: 'postern_ca_generations', value, labels: { phase } })
  for (const [result, value] of enrolment)
    found.push({ name: 'postern_enrolment_answers_total', value, labels: { result } })
  return found
}

function issuedSamples({ byState, firstEndMs }: IssuedReport, nowMs: number): Sample[] {
  const found: Sample[] = []
  for (const [state, value] of byState)
    found.push({ name: 'postern_agent_certificates', value, labels: { state } })
  if (firstEndMs !== undefined) {
    const name = 'postern_agent_certificate_expiry_seconds_min'
    found.push({ name, value: (firstEndMs - nowMs) / 1000 })
  }
  return found
}
