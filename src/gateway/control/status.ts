import { create } from '@bufbuild/protobuf'
import { VERSION } from '../../base/version.ts'
import { GatewayStatusSchema, type GatewayStatus } from '../../gen/postern/v1/admin_pb.js'
import type { GatewayReport } from './report.ts'

/** A certificate with less left than this should have been renewed. */
const EXPIRY_WARN_MS = 3_600_000
const OWN_STORE =
  'each gateway has a store of its own: what is revoked, locked or issued here is not known to the peers; give the same command on each'

/** Words what the rooms of a gateway report. Times in wall-clock ms. */
export function gatewayStatus(
  report: GatewayReport,
  startedAtMs: number,
  nowMs: number,
): GatewayStatus {
  const { isDraining, own, clusters, callers } = report
  const expiresInMs = Math.round(own.notAfterMs - nowMs)
  const reasons = reasonsOf(report, expiresInMs)
  const health = reasons.length === 0 ? 'healthy' : 'degraded'
  return create(GatewayStatusSchema, {
    version: VERSION,
    identity: own.identity,
    startedAt: new Date(startedAtMs).toISOString(),
    health: isDraining ? 'draining' : health,
    reasons: isDraining ? ['it takes no new calls and tunnels', ...reasons] : reasons,
    warnings: report.hasOwnStoreAmongPeers ? [OWN_STORE] : [],
    tunnels: clusters.tunnels,
    clusters: clusters.tunnelsOf.size,
    agents: clusters.agents,
    callers: callers.callers,
    streams: callers.streams,
    relayed: callers.relayed,
    buffers: report.buffers,
    fronts: report.fronts.map(({ isWaiting, ...front }) => ({ ...front, waiting: isWaiting })),
    certificate: { notAfter: new Date(own.notAfterMs).toISOString(), expiresInMs },
  })
}

function reasonsOf({ access, fronts }: GatewayReport, expiresInMs: number): string[] {
  const reasons: string[] = []
  if (expiresInMs < EXPIRY_WARN_MS)
    reasons.push(`the certificate expires in ${String(Math.round(expiresInMs / 60_000))} min`)
  if (access?.storeError !== undefined)
    reasons.push(`the store cannot be used, what it said last is in force: ${access.storeError}`)
  for (const { address, failure } of fronts)
    if (failure !== undefined) reasons.push(`no agent comes through ${address}: ${failure}`)
  return reasons
}
