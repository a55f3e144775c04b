import { PosternError } from '../base/errors.ts'
import type { AgentSettings } from './agent-settings.ts'
import { isLoopback } from './plaintext.ts'
import { DATA_PLANE_KEYS } from './data-plane-settings.ts'
import { vendorMethods } from '../dataplane/vendor/vendor.ts'
import { grpcRows, type AnyServiceRow } from './service-row.ts'

/** A registration names them all, beside the agent's own. */
const METHODS_MAX = 512
const DESCRIPTORS_BYTES_MAX = 4 * 1024 * 1024

/**
 * Judges the services of the agent's file with the rest of it, and returns them.
 * @throws CONFIG_INVALID
 */
export function judgeAgentServices(settings: AgentSettings): readonly AnyServiceRow[] {
  const { services, allow } = settings
  if (settings['backoff.min'] > settings['backoff.max'])
    throw new PosternError('CONFIG_INVALID', 'backoff.min is above backoff.max')
  const names = new Set<string>()
  for (const { name } of services) {
    if (names.has(name)) throw new PosternError('CONFIG_INVALID', `services: ${name} stands twice`)
    names.add(name)
  }
  judgeVendors(services)
  for (const service of allow.flatMap((rule) => rule.services)) {
    if (service === '*' || names.has(service)) continue
    const text = `allow: ${JSON.stringify(service)} names no service of services`
    throw new PosternError('CONFIG_INVALID', text)
  }
  for (const key of DATA_PLANE_KEYS) judgeNames(key, settings[key])
  const stores = new Set(settings.stores.map(({ name }) => name))
  for (const row of settings.logs) {
    if (row.type !== 'objects' || stores.has(row.store)) continue
    const text = `logs: ${row.name}: ${JSON.stringify(row.store)} names no store of stores`
    throw new PosternError('CONFIG_INVALID', text)
  }
  judgePlaintext(settings)
  judgeProbes(settings)
  return services
}

/** Servers of gRPC may not take methods from each other, nor describe more than a gateway takes. */
function judgeVendors(services: readonly AnyServiceRow[]): void {
  const owners = new Map<string, string>()
  let bytes = 0
  for (const row of grpcRows(services)) {
    const { methods, descriptors } = vendorMethods(row)
    bytes += descriptors?.byteCount ?? 0
    for (const { name } of methods) {
      const owner = owners.get(name)
      if (owner !== undefined)
        throw new PosternError(
          'CONFIG_INVALID',
          `services: ${owner} and ${row.name} both offer ${name}`,
        )
      owners.set(name, row.name)
    }
  }
  if (owners.size > METHODS_MAX)
    throw new PosternError(
      'CONFIG_INVALID',
      `services: ${String(owners.size)} methods of servers, and at most ${String(METHODS_MAX)} are taken`,
    )
  if (bytes > DESCRIPTORS_BYTES_MAX)
    throw new PosternError('CONFIG_INVALID', 'services: descriptors of over 4 MiB together')
}

/** What leaves the machine leaves it encrypted, or by the customer's own word. */
function judgePlaintext(settings: AgentSettings): void {
  const { 'metrics.listen': metrics, 'tracing.url': tracing } = settings
  if (metrics !== undefined && !isLoopback(metrics.host)) {
    refusePlain(settings, 'metrics', 'metrics.listen is not on loopback, and what it tells goes')
  }
  if (tracing?.startsWith('http:') === true && !isLoopback(new URL(tracing).hostname))
    refusePlain(settings, 'tracing', 'tracing.url is plain http, and spans leave this machine')
}

function refusePlain(settings: AgentSettings, group: 'metrics' | 'tracing', what: string): void {
  if (settings[`${group}.plaintext`] === 'allowed') return
  const text = `${what} in plain text: change it, or say ${group}.plaintext: allowed`
  throw new PosternError('CONFIG_INVALID', text)
}

function judgeNames(setting: string, rows: readonly { readonly name: string }[]): void {
  const names = rows.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined)
    throw new PosternError('CONFIG_INVALID', `${setting}: ${twice} stands twice`)
}

function isOverTls(row: AnyServiceRow): boolean {
  return row.protocol === 'grpc' ? row.isTls : row.protocol === 'tls' || row.protocol === 'https'
}

function judgeProbes({ probes, services, 'probe.exec': exec }: AgentSettings): void {
  const byName = new Map(services.map((row) => [row.name, row]))
  for (const { service, type, target, mayBePlain } of probes) {
    const row = byName.get(service)
    if (row === undefined) {
      const text = `probes: ${JSON.stringify(service)} names no service of services`
      throw new PosternError('CONFIG_INVALID', text)
    }
    // A target of its own was judged where it was read; so was that of a service that is reached in plain text.
    if (target === undefined && row.target === undefined && type !== 'exec')
      throw new PosternError('CONFIG_INVALID', `probes: ${service} needs a target: it is a socket`)
    const isPlain = (type === 'http' || type === 'grpc') && isOverTls(row) && target === undefined
    if (isPlain && !mayBePlain && row.target !== undefined && !isLoopback(row.target.host)) {
      const text = `probes: ${service}: type ${type} asks ${row.target.host} in plain text, and it is not on this machine: type must be https or tcp, or the row say plaintext: allowed`
      throw new PosternError('CONFIG_INVALID', text)
    }
    if (type === 'exec' && exec !== 'allowed') {
      const text = `probes: ${service}: commands are run where probe.exec is "allowed" only`
      throw new PosternError('CONFIG_INVALID', text)
    }
  }
}
