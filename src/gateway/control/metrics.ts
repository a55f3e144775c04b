import type { Clock } from '../../base/clock.ts'
import { Metrics, type MetricRow, type Sample } from '../../base/metrics.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import { listCertificates } from '../ca/ca.ts'
import { BUILD_METRIC, buildSample } from '../../base/build-info.ts'
import { CALL_METRICS } from '../../rpc/call-counts.ts'
import type { GatewayRooms } from './rooms.ts'

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
export function gatewayMetrics(gateway: GatewayRooms, clock: Clock): Metrics {
  return new Metrics(GATEWAY_METRICS, async () => [
    ...tunnelSamples(gateway),
    ...ownSamples(gateway, clock.wallMs()),
    ...(await storeSamples(gateway, clock.wallMs())),
  ])
}

function tunnelSamples({ registry, callers, admission }: GatewayRooms): Sample[] {
  const { relayed, counts, bytes } = callers
  const tunnels = [...registry.clusters.values()].flat()
  const latencies = tunnels.flatMap(({ canary }) => canary.latencyMs ?? [])
  const slowest =
    latencies.length === 0
      ? []
      : [{ name: 'postern_canary_latency_seconds_max', value: Math.max(...latencies) / 1000 }]
  const failing = tunnels.filter(({ canary }) => canary.failures > 0).length
  const down = tunnels.reduce((sum, { report }) => sum + (report?.down.size ?? 0), 0)
  const byCluster = [...registry.clusters]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, CLUSTERS_MAX)
    .map(([cluster, { length: value }]) => ({
      name: 'postern_cluster_tunnels',
      value,
      labels: { cluster },
    }))
  const relayedBytes = 'postern_relayed_bytes_total'
  return [
    buildSample('gateway'),
    ...byCluster,
    ...counts.samples(),
    { name: relayedBytes, value: bytes.toAgents, labels: { direction: 'to_agents' } },
    { name: relayedBytes, value: bytes.toCallers, labels: { direction: 'to_callers' } },
    { name: 'postern_tunnels', value: tunnels.length },
    { name: 'postern_clusters', value: registry.clusters.size },
    { name: 'postern_calls_relayed_total', value: relayed },
    { name: 'postern_streams', value: callers.report().streams },
    { name: 'postern_admissions_deferred_total', value: admission.refused },
    { name: 'postern_canary_failing', value: failing },
    ...slowest,
    { name: 'postern_services_down', value: down },
  ]
}

function ownSamples({ own, ca }: GatewayRooms, nowMs: number): Sample[] {
  const expiry = (certificate: string, notAfterMs: number): Sample => ({
    name: 'postern_certificate_expiry_seconds',
    value: (notAfterMs - nowMs) / 1000,
    labels: { certificate },
  })
  const roots = certificatesIn(own.credential.bundlePem).map(({ notAfterMs }) => notAfterMs)
  const found = [expiry('gateway', own.credential.notAfterMs), expiry('root', Math.min(...roots))]
  if (ca === undefined) return found
  const { agents, gateways } = ca.authorities.active
  return [
    ...found,
    expiry('agents-ca', agents.certificate.notAfter.getTime()),
    expiry('gateways-ca', gateways.certificate.notAfter.getTime()),
  ]
}

async function storeSamples(
  { access, ca, enrolment }: GatewayRooms,
  nowMs: number,
): Promise<Sample[]> {
  if (access === undefined) return []
  const { records, denials } = access
  const rows = await listCertificates({ expiresAfterMs: nowMs }, records.database)
  const agents = rows.filter(({ cluster }) => cluster !== '')
  const live = agents.filter(({ state }) => state !== 'superseded')
  const found: Sample[] = [{ name: 'postern_denials', value: denials.rows.length }]
  for (const [state, value] of counted(agents.map((row) => row.state)))
    found.push({ name: 'postern_agent_certificates', value, labels: { state } })
  if (live.length > 0) {
    const endMs = Math.min(...live.map(({ not_after }) => not_after))
    const name = 'postern_agent_certificate_expiry_seconds_min'
    found.push({ name, value: (endMs - nowMs) / 1000 })
  }
  const phases = ca?.authorities.rows.map(({ phase }) => phase) ?? []
  for (const [phase, value] of counted(phases))
    found.push({ name: 'postern_ca_generations', value, labels: { phase } })
  for (const [result, value] of enrolment?.answers ?? [])
    found.push({ name: 'postern_enrolment_answers_total', value, labels: { result } })
  return found
}

function counted(words: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}
