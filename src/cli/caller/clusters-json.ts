import type { AgentTunnel, AwayAgent, Cluster } from '../../gen/postern/v1/gateway_pb.js'
import type { Capacity, PostureSummary } from '../../gen/postern/v1/tunnel_pb.js'

/** Returns a cluster as `--json` prints it. */
export function clusterJson({ name, tunnels, errors, away }: Cluster): object {
  const told = errors.map(({ atMs, agent, code, text }) => ({
    at: isoTime(atMs),
    agent,
    code,
    text,
  }))
  return { name, tunnels: tunnels.map(tunnelJson), errors: told, away: away.map(awayJson) }
}

function awayJson({ last, ...one }: AwayAgent): object {
  const { agent, agentVersion, address, gateway, code, text } = one
  const at = last?.heartbeatAtMs
  return {
    ...{ agent, agentVersion, address, gateway },
    firstSeenAt: isoTime(one.firstSeenAtMs),
    leftAt: isoTime(one.leftAtMs),
    ...{ code, text, services: last?.services.map(({ name, dataType }) => ({ name, dataType })) },
    capacity: last?.capacity === undefined ? null : capacityJson(last.capacity),
    posture: postureJson(last?.posture),
    lockedDown: last?.isLockedDown ?? false,
    heartbeatAt: at === undefined ? null : isoTime(at),
  }
}

/** Returns a time of a message as ISO 8601; null where there is none. */
export function isoTime(ms: bigint): string {
  return new Date(Number(ms)).toISOString()
}

function capacityJson(capacity: Capacity): object {
  const { cpus, load, memoryBytesMax, memoryBytesUsed } = capacity
  const { diskBytesMax, diskBytesFree, filesMax, filesOpen } = capacity
  const orNull = (value: bigint | undefined): number | null =>
    value === undefined ? null : Number(value)
  return {
    cpus,
    load,
    memoryBytesMax: Number(memoryBytesMax),
    memoryBytesUsed: Number(memoryBytesUsed),
    diskBytesMax: orNull(diskBytesMax),
    diskBytesFree: orNull(diskBytesFree),
    filesMax: filesMax ?? null,
    filesOpen: filesOpen ?? null,
  }
}

function postureJson(posture: PostureSummary | undefined): object | null {
  if (posture === undefined) return null
  const { ok, warn, fail, unknown, atMs } = posture
  return { ok, warn, fail, unknown, at: isoTime(atMs) }
}

function tunnelJson(tunnel: AgentTunnel): object {
  const { agent, agentVersion, address, rttMs, streams, methodCount, serviceCount } = tunnel
  const offers = {
    methods: tunnel.methods.map(({ name, kind, dataType }) => ({ name, kind, dataType })),
    services: tunnel.services.map(({ name, dataType }) => {
      const found = tunnel.health.find((one) => one.name === name)
      if (found === undefined) return { name, dataType, health: null }
      const { isDown, reason, sinceMs } = found
      return { name, dataType, health: { up: !isDown, reason, since: isoTime(sinceMs) } }
    }),
    heartbeatAt: tunnel.heartbeatAtMs === undefined ? null : isoTime(tunnel.heartbeatAtMs),
    capacity: tunnel.capacity === undefined ? null : capacityJson(tunnel.capacity),
    posture: postureJson(tunnel.posture),
    lockedDown: tunnel.isLockedDown,
    lockdownReason: tunnel.lockdownReason,
    record: {
      lines: Number(tunnel.recordLines),
      head: Buffer.from(tunnel.recordHead).toString('hex'),
    },
  }
  return {
    agent,
    agentVersion,
    address,
    connectedAt: isoTime(tunnel.connectedAtMs),
    rttMs: rttMs ?? null,
    canaryMs: tunnel.canaryMs ?? null,
    canaryFailures: tunnel.canaryFailures,
    streams,
    certificateNotAfter: isoTime(tunnel.certificateNotAfterMs),
    methodCount,
    serviceCount,
    downCount: tunnel.downCount,
    // The list leaves them out: a fleet's worth would not fit one message.
    ...(methodCount + serviceCount === offers.methods.length + offers.services.length
      ? offers
      : {}),
  }
}
