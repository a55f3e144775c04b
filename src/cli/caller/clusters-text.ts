import type { AgentTunnel, AwayAgent, Cluster } from '../../gen/postern/v1/gateway_pb.js'
import type { ServiceHealth } from '../../gen/postern/v1/tunnel_pb.js'
import { isoTime } from './clusters-json.ts'
import { humanBytes, humanSpan, table } from '../program/program.ts'

const TUNNEL_HEADER = ['AGENT', 'VERSION', 'ADDRESS', 'UP', 'RTT', 'CALL', 'STREAMS', 'CERT']

function tunnelCells(tunnel: AgentTunnel, nowMs: number): string[] {
  return [
    tunnel.agent,
    tunnel.agentVersion,
    tunnel.address,
    humanSpan(nowMs - Number(tunnel.connectedAtMs)),
    tunnel.rttMs === undefined ? '-' : `${tunnel.rttMs.toFixed(1)} ms`,
    canaryCell(tunnel),
    String(tunnel.streams),
    humanSpan(Number(tunnel.certificateNotAfterMs) - nowMs),
  ]
}

function canaryCell({ canaryMs, canaryFailures }: AgentTunnel): string {
  if (canaryFailures > 0) return `${String(canaryFailures)} failed`
  return canaryMs === undefined ? '-' : `${canaryMs.toFixed(1)} ms`
}

/** Returns the table of `gateway clusters list`. */
export function listText(clusters: readonly Cluster[], nowMs: number): string {
  if (clusters.length === 0) return 'no cluster is connected'
  const rows = clusters.flatMap(({ name, tunnels }) =>
    tunnels.map((tunnel) => [name, ...tunnelCells(tunnel, nowMs), servicesCell(tunnel)]),
  )
  const connected =
    rows.length === 0
      ? 'no cluster is connected'
      : table(['CLUSTER', ...TUNNEL_HEADER, 'SERVICES'], rows)
  const gone = clusters.flatMap(({ name, away }) =>
    away.map((one) => [name, ...awayCells(one, nowMs)]),
  )
  return gone.length === 0
    ? connected
    : `${connected}\n\n${table(['CLUSTER', ...AWAY_HEADER], gone)}`
}

const AWAY_HEADER = ['AWAY', 'VERSION', 'FROM', 'GATEWAY', 'SINCE', 'CODE', 'WHY']

function awayCells({ leftAtMs, ...one }: AwayAgent, nowMs: number): string[] {
  const { agent, agentVersion, address, gateway, code, text } = one
  return [agent, agentVersion, address, gateway, humanSpan(nowMs - Number(leftAtMs)), code, text]
}

function servicesCell({
  serviceCount,
  downCount,
  isLockedDown,
  lockdownReason,
}: AgentTunnel): string {
  if (isLockedDown)
    return `LOCKED DOWN by the customer${lockdownReason === '' ? '' : `: ${lockdownReason}`}`
  return downCount === 0
    ? String(serviceCount)
    : `${String(serviceCount)} (${String(downCount)} down)`
}

/** Returns the text of `gateway clusters show`. */
export function showText({ name, tunnels, errors, away }: Cluster, nowMs: number): string {
  const offers = tunnels.flatMap(({ agent, methods, services, health }) => [
    ...services.map((service) => [
      agent,
      'service',
      service.name,
      service.dataType,
      healthText(
        health.find((one) => one.name === service.name),
        nowMs,
      ),
    ]),
    ...methods.map((method) => [agent, method.kind, method.name, method.dataType, '']),
  ])
  const parts = [
    `cluster ${name}`,
    table(
      TUNNEL_HEADER,
      tunnels.map((tunnel) => tunnelCells(tunnel, nowMs)),
    ),
    ...capacityParts(tunnels, nowMs),
    ...postureParts(tunnels, nowMs),
    table(['AGENT', 'KIND', 'NAME', 'DATA TYPE', 'HEALTH'], offers),
  ]
  if (away.length > 0)
    parts.push(
      table(
        AWAY_HEADER,
        away.map((one) => awayCells(one, nowMs)),
      ),
    )
  if (errors.length > 0) {
    const rows = errors.map(({ atMs, agent, code, text }) => [isoTime(atMs), agent, code, text])
    parts.push(table(['LAST ERRORS', 'AGENT', 'CODE', 'WHY'], rows))
  }
  return parts.join('\n\n')
}

function healthText(health: ServiceHealth | undefined, nowMs: number): string {
  if (health === undefined) return '-'
  const span = humanSpan(nowMs - Number(health.sinceMs))
  return health.isDown ? `DOWN for ${span}: ${health.reason}` : `up for ${span}`
}

function postureParts(tunnels: readonly AgentTunnel[], nowMs: number): string[] {
  const rows = tunnels.flatMap(({ agent, posture }) => {
    if (posture === undefined) return []
    const { ok, warn, fail, unknown, atMs } = posture
    const counts = [ok, warn, fail, unknown].map(String)
    return [[agent, ...counts, `${humanSpan(nowMs - Number(atMs))} ago`]]
  })
  const header = ['POSTURE OF', 'OK', 'WARN', 'FAIL', 'UNKNOWN', 'LOOKED']
  return rows.length === 0 ? [] : [table(header, rows)]
}

function capacityParts(tunnels: readonly AgentTunnel[], nowMs: number): string[] {
  const rows = tunnels.flatMap(({ agent, capacity, heartbeatAtMs }) => {
    if (capacity === undefined || heartbeatAtMs === undefined) return []
    const { cpus, load, memoryBytesMax, memoryBytesUsed, diskBytesFree, filesOpen, filesMax } =
      capacity
    return [
      [
        agent,
        `${load.toFixed(2)} of ${String(cpus)}`,
        `${humanBytes(Number(memoryBytesUsed))} of ${humanBytes(Number(memoryBytesMax))}`,
        diskBytesFree === undefined ? '-' : `${humanBytes(Number(diskBytesFree))} free`,
        filesOpen === undefined ? '-' : `${String(filesOpen)} of ${String(filesMax ?? '?')}`,
        `${humanSpan(nowMs - Number(heartbeatAtMs))} ago`,
      ],
    ]
  })
  return rows.length === 0 ? [] : [table(['AGENT', 'CPU', 'MEMORY', 'DISK', 'FILES', 'TOLD'], rows)]
}
