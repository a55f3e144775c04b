import type { AgentStatus } from '../agent/status.ts'
import { printable } from '../base/errors.ts'
import { humanBytes, humanSpan } from './output.ts'

/** One screen: does it work, since when, to where, how well, what needs attention. */
export function statusText(status: AgentStatus): string {
  const { tunnel, calls, certificate, services, lastError } = status
  const now = Date.parse(certificate.notAfter) - certificate.expiresInMs
  const rows: [string, string][] = [
    ['agent', `${status.identity} (version ${status.version})`],
    ['health', [status.health, ...status.reasons].join('; ')],
    [
      'tunnel',
      tunnel.since === null
        ? `${tunnel.state}${tunnel.nextTryAt === null ? '' : `, next try in ${humanSpan(Date.parse(tunnel.nextTryAt) - now)}`}`
        : `${tunnel.state} for ${humanSpan(now - Date.parse(tunnel.since))}`,
    ],
    ['gateway', gatewayLine(tunnel)],
  ]
  if (tunnel.tlsVersion !== null) {
    const parts = [tunnel.tlsVersion, tunnel.cipher, tunnel.keyExchange]
    rows.push(['tls', parts.filter((part) => part !== null).join(', ')])
    rows.push(['traffic', trafficLine(tunnel)])
  }
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
  return rows.map(([name, value]) => `${name.padEnd(12)} ${printable(value, 1000)}`).join('\n')
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
