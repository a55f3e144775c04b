import { create } from '@bufbuild/protobuf'
import {
  type AgentStatus,
  AgentStatus_CertificateSchema,
  type AgentStatus_Calls,
  type AgentStatus_Canary,
  type AgentStatus_Connector,
  type AgentStatus_Error,
  type AgentStatus_Guard,
  type AgentStatus_ServiceHealth,
  type AgentStatus_Tunnel,
  type AgentStatus_Way,
} from '../../gen/postern/v1/agent_control_pb.js'
import { printable } from '../../base/errors.ts'
import { humanBytes, humanSpan } from '../program/program.ts'

/** Of the events, the last. */
const EVENTS_SHOWN = 8

/** One screen: does it work, since when, to where, how well, what needs attention. */
export function statusText(status: AgentStatus): string {
  const { calls, services, lastError } = status
  const certificate = status.certificate ?? create(AgentStatus_CertificateSchema)
  const now = Date.parse(certificate.notAfter) - certificate.expiresInMs
  const rows: [string, string][] = [
    ['agent', `${status.identity} (version ${status.version})`],
    ['health', `${status.health} for ${humanSpan(now - Date.parse(status.healthSince))}`],
    ...status.reasons.map((reason, index): [string, string] => [
      index === 0 ? 'attention' : '',
      `${reason} (for ${humanSpan(now - Date.parse(status.reasonsSince[index] ?? ''))})`,
    ]),
  ]
  if (status.tunnels.length < status.tunnelsWanted)
    rows.push(['tunnels', `${String(status.tunnels.length)} of ${String(status.tunnelsWanted)}`])
  for (const tunnel of status.tunnels) rows.push(...tunnelRows(tunnel, now))
  if (status.ways.length > 1) for (const way of status.ways) rows.push(['way', wayLine(way, now)])
  if (status.connector !== undefined) rows.push(...connectorRows(status.connector, now))
  if (calls !== undefined) rows.push(['calls', callsLine(calls)])
  if (status.guard !== undefined) rows.push(...guardRows(status.guard))
  if (status.seal !== undefined && status.seal.pin !== '')
    rows.push(['sealed', `${String(status.seal.sessions)} sessions; our key ${status.seal.pin}`])
  rows.push([
    'certificate',
    `valid until ${certificate.notAfter} (${humanSpan(certificate.expiresInMs)} left)`,
  ])
  if (certificate.renewsAt !== undefined)
    rows.push(['renewal', renewalLine(certificate.renewsAt, certificate.renewalError, now)])
  const { bundleVersion = 0, roots = 0 } = status.trust ?? {}
  rows.push(['trust', `${String(roots)} root(s), bundle ${String(bundleVersion)}`])
  const skewMs = status.clock?.skewMs
  if (skewMs !== undefined)
    rows.push([
      'clock',
      `${skewMs < 0 ? '-' : '+'}${(Math.abs(skewMs) / 1000).toFixed(1)} s at the gateway`,
    ])
  for (const { name, dataType, target, health } of services)
    rows.push(['service', `${name} -> ${target} (${dataType})${healthText(health, now)}`])
  for (const { setting, name, where, region } of status.backends)
    rows.push([setting, `${name}: ${where}${region === undefined ? '' : `, in ${region}`}`])
  if (lastError !== undefined)
    rows.push(['last error', `${lastError.at} ${lastError.code}: ${lastError.message}`])
  const recent = status.events.slice(-EVENTS_SHOWN)
  for (const [index, { at, kind, text }] of recent.entries())
    rows.push([index === 0 ? 'lately' : '', `${at} ${kind}: ${text}`])
  const width = Math.max(...rows.map(([name]) => name.length), 12)
  return rows.map(([name, value]) => `${name.padEnd(width)} ${printable(value, 1000)}`).join('\n')
}

function tunnelRows(tunnel: AgentStatus_Tunnel, nowMs: number): [string, string][] {
  const { since, state, nextTryAt, tlsVersion, cipher, keyExchange } = tunnel
  const next =
    nextTryAt === undefined ? '' : `, next try in ${humanSpan(Date.parse(nextTryAt) - nowMs)}`
  const how =
    since === undefined ? `${state}${next}` : `${state} for ${humanSpan(nowMs - Date.parse(since))}`
  const rows: [string, string][] = [['tunnel', `${how}: ${gatewayLine(tunnel)}`]]
  if (tlsVersion === undefined) return rows
  const parts = [tlsVersion, cipher, keyExchange]
  rows.push(['  tls', parts.filter((part) => part !== undefined).join(', ')])
  rows.push(['  traffic', trafficLine(tunnel)])
  if (tunnel.canary !== undefined) rows.push(['  canary', canaryLine(tunnel.canary, nowMs)])
  return rows
}

function connectorRows(connector: AgentStatus_Connector, nowMs: number): [string, string][] {
  const { state, since, reason, version, path, pinned, pid, starts } = connector
  const { connections, locations, protocol, errors } = connector
  const why = reason === undefined ? '' : `: ${reason}`
  const edge =
    connections === 0
      ? ''
      : `, ${String(connections)} connections to ${locations.join(', ')} by ${protocol}`
  const last = errors.at(-1)
  return [
    ['cloudflared', `${state} for ${humanSpan(nowMs - Date.parse(since))}${why}${edge}`],
    [
      '  program',
      `${path} ${version}${pinned ? ', pinned' : ''}${pid === 0 ? '' : `, pid ${String(pid)}`}, start ${String(starts)}`,
    ],
    ...(last === undefined ? [] : [['  said', `${last.at} ${last.text}`] as [string, string]]),
  ]
}

function wayLine({ name, failure, failedAt, restsUntil }: AgentStatus_Way, nowMs: number): string {
  if (failure === undefined || failedAt === undefined) return `${name}: nothing against it`
  const rests =
    restsUntil === undefined
      ? 'tried again next'
      : `not tried again for ${humanSpan(Date.parse(restsUntil) - nowMs)}`
  return `${name}: failed ${humanSpan(nowMs - Date.parse(failedAt))} ago, ${rests}: ${failure}`
}

function canaryLine({ at, latencyMs, failures }: AgentStatus_Canary, nowMs: number): string {
  const when = `${humanSpan(nowMs - Date.parse(at))} ago`
  if (failures > 0) return `the gateway's last ${String(failures)} failed; one came through ${when}`
  const took = latencyMs === undefined ? '' : `, there and back in ${latencyMs.toFixed(1)} ms`
  return `one came through ${when}${took}`
}

function healthText(health: AgentStatus_ServiceHealth | undefined, nowMs: number): string {
  if (health === undefined) return ''
  const { up, reason, since, latencyMs } = health
  const span = humanSpan(nowMs - Date.parse(since))
  if (!up) return `: DOWN for ${span}: ${reason}`
  return `: up for ${span}${latencyMs === undefined ? '' : `, probed in ${latencyMs.toFixed(0)} ms`}`
}

function renewalLine(
  renewsAt: string,
  error: AgentStatus_Error | undefined,
  nowMs: number,
): string {
  const inMs = Date.parse(renewsAt) - nowMs
  const when = inMs > 0 ? `due ${renewsAt} (in ${humanSpan(inMs)})` : 'due now'
  return error === undefined
    ? when
    : `${when}; the last try failed: ${error.code}: ${error.message}`
}

function gatewayLine({
  address,
  gateway,
  region,
  gatewayVersion,
  attempt,
  via = 'direct',
}: AgentStatus_Tunnel): string {
  if (gateway === undefined) return `${address} (attempt ${String(attempt)})`
  const way = via === 'direct' ? '' : ` via ${via}`
  return `${gateway} in ${region ?? '?'} at ${address}${way} (version ${gatewayVersion ?? '?'})`
}

function trafficLine({ rttMs, streams, bytesIn, bytesOut }: AgentStatus_Tunnel): string {
  const rtt =
    rttMs === undefined ? 'round trip not measured yet' : `round trip ${rttMs.toFixed(1)} ms`
  return `${rtt}, ${String(streams)} streams, ${humanBytes(bytesIn)} in, ${humanBytes(bytesOut)} out`
}

function guardRows(guard: AgentStatus_Guard): [string, string][] {
  const { policy, mode, rules, pushes, record, types } = guard
  const plural = rules === 1 ? 'rule' : 'rules'
  const how = mode === 'observe' ? ', only observed' : ''
  const out: [string, string][] = [['policy', `${policy}, ${String(rules)} ${plural}${how}`]]
  for (const push of pushes) {
    const widens =
      push.widening.length === 0 ? '' : `; would widen, in vain: ${push.widening.join(', ')}`
    out.push(['  narrowed', `by ${push.gateway}, to ${String(push.rules)} rules${widens}`])
  }
  for (const { type, calls, refused, bytesIn, bytesOut } of types) {
    const bytes = `${humanBytes(bytesIn)} in, ${humanBytes(bytesOut)} out`
    out.push([`  ${type}`, `${String(calls)} calls, ${String(refused)} refused, ${bytes}`])
  }
  if (record === undefined) return out
  const { lines, anchoredTo, failure, directory } = record
  const anchored = anchoredTo === undefined ? '' : `, anchored to ${String(anchoredTo)}`
  const state = failure === undefined ? '' : `: CANNOT BE WRITTEN: ${failure}`
  out.push(['record', `${String(lines)} lines in ${directory}${anchored}${state}`])
  return out
}

function callsLine({ running, allowed, denied, byStatus }: AgentStatus_Calls): string {
  const outcomes = Object.entries(byStatus).map(([status, count]) => `${status} ${String(count)}`)
  const ended = outcomes.length === 0 ? 'none ended' : outcomes.join(', ')
  return `${String(running)} running; ${ended}; policy allowed ${String(allowed)}, denied ${String(denied)}`
}
