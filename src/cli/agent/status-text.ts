import type { AgentStatus, TunnelStatus } from '../../agent/control/control.ts'
import { printable } from '../../base/errors.ts'
import { humanBytes, humanSpan } from '../program/program.ts'

/** Of the events, the last. */
const EVENTS_SHOWN = 8

/** One screen: does it work, since when, to where, how well, what needs attention. */
export function statusText(status: AgentStatus): string {
  const { calls, certificate, services, lastError } = status
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
  rows.push(['calls', callsLine(calls)])
  rows.push([
    'certificate',
    `valid until ${certificate.notAfter} (${humanSpan(certificate.expiresInMs)} left)`,
  ])
  if (certificate.renewsAt !== null)
    rows.push(['renewal', renewalLine(certificate.renewsAt, certificate.renewalError, now)])
  const { bundleVersion, roots } = status.trust
  rows.push(['trust', `${String(roots)} root(s), bundle ${String(bundleVersion)}`])
  const { skewMs } = status.clock
  if (skewMs !== null)
    rows.push([
      'clock',
      `${skewMs < 0 ? '-' : '+'}${(Math.abs(skewMs) / 1000).toFixed(1)} s at the gateway`,
    ])
  for (const { name, dataType, target, health } of services)
    rows.push(['service', `${name} -> ${target} (${dataType})${healthText(health, now)}`])
  if (lastError !== null)
    rows.push(['last error', `${lastError.at} ${lastError.code}: ${lastError.message}`])
  const recent = status.events.slice(-EVENTS_SHOWN)
  for (const [index, { at, kind, text }] of recent.entries())
    rows.push([index === 0 ? 'lately' : '', `${at} ${kind}: ${text}`])
  return rows.map(([name, value]) => `${name.padEnd(12)} ${printable(value, 1000)}`).join('\n')
}

function tunnelRows(tunnel: TunnelStatus, nowMs: number): [string, string][] {
  const { since, state, nextTryAt, tlsVersion, cipher, keyExchange } = tunnel
  const next = nextTryAt === null ? '' : `, next try in ${humanSpan(Date.parse(nextTryAt) - nowMs)}`
  const how =
    since === null ? `${state}${next}` : `${state} for ${humanSpan(nowMs - Date.parse(since))}`
  const rows: [string, string][] = [['tunnel', `${how}: ${gatewayLine(tunnel)}`]]
  if (tlsVersion === null) return rows
  const parts = [tlsVersion, cipher, keyExchange]
  rows.push(['  tls', parts.filter((part) => part !== null).join(', ')])
  rows.push(['  traffic', trafficLine(tunnel)])
  if (tunnel.canary !== null) rows.push(['  canary', canaryLine(tunnel.canary, nowMs)])
  return rows
}

function canaryLine(
  { at, latencyMs, failures }: NonNullable<TunnelStatus['canary']>,
  nowMs: number,
): string {
  const when = `${humanSpan(nowMs - Date.parse(at))} ago`
  if (failures > 0) return `the gateway's last ${String(failures)} failed; one came through ${when}`
  const took = latencyMs === null ? '' : `, there and back in ${latencyMs.toFixed(1)} ms`
  return `one came through ${when}${took}`
}

function healthText(health: AgentStatus['services'][number]['health'], nowMs: number): string {
  if (health === null) return ''
  const { up, reason, since, latencyMs } = health
  const span = humanSpan(nowMs - Date.parse(since))
  if (!up) return `: DOWN for ${span}: ${reason}`
  return `: up for ${span}${latencyMs === null ? '' : `, probed in ${latencyMs.toFixed(0)} ms`}`
}

function renewalLine(
  renewsAt: string,
  error: AgentStatus['certificate']['renewalError'],
  nowMs: number,
): string {
  const inMs = Date.parse(renewsAt) - nowMs
  const when = inMs > 0 ? `due ${renewsAt} (in ${humanSpan(inMs)})` : 'due now'
  return error === null ? when : `${when}; the last try failed: ${error.code}: ${error.message}`
}

function gatewayLine({
  address,
  gateway,
  region,
  gatewayVersion,
  attempt,
}: AgentStatus['tunnel']): string {
  if (gateway === null) return `${address} (attempt ${String(attempt)})`
  return `${gateway} in ${region ?? '?'} at ${address} (version ${gatewayVersion ?? '?'})`
}

function trafficLine({ rttMs, streams, bytesIn, bytesOut }: AgentStatus['tunnel']): string {
  const rtt = rttMs === null ? 'round trip not measured yet' : `round trip ${rttMs.toFixed(1)} ms`
  return `${rtt}, ${String(streams)} streams, ${humanBytes(bytesIn)} in, ${humanBytes(bytesOut)} out`
}

function callsLine({ running, allowed, denied, byStatus }: AgentStatus['calls']): string {
  const outcomes = Object.entries(byStatus).map(([status, count]) => `${status} ${String(count)}`)
  const ended = outcomes.length === 0 ? 'none ended' : outcomes.join(', ')
  return `${String(running)} running; ${ended}; policy allowed ${String(allowed)}, denied ${String(denied)}`
}
