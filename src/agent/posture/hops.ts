import type { Address } from '../../base/address.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { forwardRows, grpcRows } from '../../config/service-row.ts'
import { isLoopback } from '../../config/plaintext.ts'
import { about, seen, type Finding } from '../../base/finding.ts'
import { readPublicFile } from '../../identity/key-files.ts'
import { lookAtHop } from '../../transport/look-at-hop.ts'

interface Way {
  readonly area: string
  readonly name: string
  readonly target: Address
  readonly isTls: boolean
  readonly caFile?: string | undefined
}

/** Looks how bytes go from the agent to each thing that the settings name. */
export async function hopFindings(settings: AgentSettings): Promise<Finding[]> {
  const found = await Promise.all(ways(settings).map(look))
  return [...found.flat(), ...listenFindings(settings), ...anchorFindings(settings)]
}

async function look({ area, name, target, isTls, caFile }: Way): Promise<Finding[]> {
  const isLocal = isLoopback(target.host)
  try {
    const caPem = caFile === undefined ? undefined : readPublicFile(caFile)
    return about(area, name, [await lookAtHop({ target, isTls, isLocal, caPem })])
  } catch (error) {
    const why = (error as Error).message
    return about(area, name, [seen('encryption in transit', 'UNKNOWN', why)])
  }
}

function ways(settings: AgentSettings): Way[] {
  const { services, prometheus, executors, stores, secrets, clickhouse, logs } = settings
  const { 'tracing.url': tracing } = settings
  const ofUrl = (area: string, name: string, url: URL, caFile?: string): Way => ({
    ...{ area, name, target: addressOf(url), isTls: url.protocol === 'https:' },
    caFile,
  })
  return [
    ...grpcRows(services).flatMap(({ name, target, isTls, caFile }) =>
      // A socket lies on this machine.
      target === undefined ? [] : [{ area: 'service', name, target, isTls, caFile }],
    ),
    ...forwardRows(services).map(({ name, target, protocol, caFile }) => ({
      ...{ area: 'service', name, target, caFile },
      isTls: protocol === 'tls' || protocol === 'https',
    })),
    ...prometheus.map(({ name, url, caFile }) => ofUrl('metrics', name, url, caFile)),
    ...clickhouse.map(({ name, url, caFile }) => ofUrl('ClickHouse', name, url, caFile)),
    ...executors.map(({ name, url, caFile }) => ofUrl('executor', name, url, caFile)),
    ...stores.map(({ name, endpoint, caFile }) => ofUrl('object store', name, endpoint, caFile)),
    ...secrets.flatMap((row) => {
      if (row.type === 'files') return []
      const url = row.type === 'aws' || row.type === 'gcp' ? row.endpoint : row.url
      return [ofUrl(`secrets (${row.type})`, row.name, url, row.caFile)]
    }),
    ...logs.flatMap((row) => {
      // What lies on this machine goes no way, and objects go that of their store.
      if (row.type === 'files' || row.type === 'journald' || row.type === 'objects') return []
      const url = row.type === 'cloudwatch' || row.type === 'google' ? row.endpoint : row.url
      return [ofUrl(`logs (${row.type})`, row.name, url, row.caFile)]
    }),
    ...(tracing === undefined ? [] : [ofUrl('traces', 'tracing.url', new URL(tracing))]),
  ]
}

function addressOf({ hostname, port, protocol }: URL): Address {
  const usual = protocol === 'https:' ? 443 : 80
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? usual : Number(port) }
}

function listenFindings({ 'metrics.listen': metrics }: AgentSettings): Finding[] {
  const check = 'listening'
  if (metrics === undefined)
    return about('agent', 'sockets', [seen(check, 'OK', 'on unix sockets alone')])
  const isLocal = isLoopback(metrics.host)
  const text = isLocal
    ? `metrics on ${metrics.host}, for this machine alone`
    : `metrics in plain HTTP on ${metrics.host}, as metrics.plaintext allows`
  return about('agent', 'metrics.listen', [seen(check, isLocal ? 'OK' : 'FAIL', text)])
}

/** Checkpoints are signed: what a plain way gives away is that there are any. */
function anchorFindings({ 'audit.anchor': anchor }: AgentSettings): Finding[] {
  if (anchor?.startsWith('syslog:') !== true) return []
  const isLocal = isLoopback(new URL(anchor.replace('syslog:', 'http:')).hostname)
  const text = 'syslog over TCP is plain; checkpoints are signed, and hold hashes alone'
  const outcome = isLocal ? 'OK' : 'WARN'
  return about('record', 'audit.anchor', [seen('encryption in transit', outcome, text)])
}
