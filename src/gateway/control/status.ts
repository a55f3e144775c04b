import { create } from '@bufbuild/protobuf'
import { VERSION } from '../../base/version.ts'
import { GatewayStatusSchema, type GatewayStatus } from '../../gen/postern/v1/admin_pb.js'
import { identityUri } from '../../identity/name.ts'
import type { GatewayRooms } from './rooms.ts'

/** A certificate with less left than this should have been renewed. */
const EXPIRY_WARN_MS = 3_600_000

/** Sums up how the rooms of a gateway are. It changes nothing. Times in wall-clock ms. */
export function gatewayStatus(
  gateway: GatewayRooms,
  startedAtMs: number,
  nowMs: number,
): GatewayStatus {
  const { registry, parts, own, isDraining } = gateway
  const { notAfterMs, identity } = own.credential
  const expiresInMs = Math.round(notAfterMs - nowMs)
  const reasons = reasonsOf(gateway, expiresInMs)
  const tunnels = [...registry.clusters.values()].flat()
  const health = reasons.length === 0 ? 'healthy' : 'degraded'
  return create(GatewayStatusSchema, {
    version: VERSION,
    identity: identityUri(identity),
    startedAt: new Date(startedAtMs).toISOString(),
    health: isDraining ? 'draining' : health,
    reasons: isDraining ? ['it takes no new calls and tunnels', ...reasons] : reasons,
    warnings: warningsOf(gateway),
    tunnels: tunnels.length,
    clusters: registry.clusters.size,
    agents: new Set(tunnels.map(({ cluster, agent }) => `${cluster}/${agent}`)).size,
    ...gateway.callers.report(),
    relayed: gateway.callers.relayed,
    buffers: { reservedBytes: parts.budget.reservedBytes, bytesMax: parts.budget.bytesMax },
    certificate: { notAfter: new Date(notAfterMs).toISOString(), expiresInMs },
  })
}

function reasonsOf({ access }: GatewayRooms, expiresInMs: number): string[] {
  const reasons: string[] = []
  if (expiresInMs < EXPIRY_WARN_MS)
    reasons.push(`the certificate expires in ${String(Math.round(expiresInMs / 60_000))} min`)
  const error = access?.storeError
  if (error !== undefined)
    reasons.push(`the store cannot be used, what it said last is in force: ${error.rawMessage}`)
  return reasons
}

function warningsOf({ settings }: GatewayRooms): string[] {
  const { peers, 'records.file': store } = settings
  if (peers.length === 0 || store === undefined) return []
  return [
    'each gateway has a store of its own: what is revoked, locked or issued here is not known to the peers; give the same command on each',
  ]
}
