import { DATA_PLANE_KEYS, type DataPlaneSettings } from '../../config/data-plane-settings.ts'
import { sameSetting } from '../../config/reload.ts'
import { BackendUses } from '../../dataplane/backend-use.ts'
import { Executors } from '../../dataplane/tasks/tasks.ts'
import { LogSources } from '../../dataplane/logs/logs.ts'
import { MetricSources } from '../../dataplane/metrics/metrics.ts'
import { SecretBackends } from '../../dataplane/secrets/secrets.ts'
import { ObjectStores } from '../../dataplane/objects/objects.ts'
import type { DispatchRequest } from '../../gen/postern/dataplane/v1/tasks_pb.js'
import type { Offer } from '../../rpc/service.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'

/** What is known of something that lies behind the data plane's own services. */
export interface BackendReport {
  /** The setting that has its row. */
  readonly setting: keyof DataPlaneSettings
  readonly name: string
  readonly kind: string
  /** Its kind, and where it is, for people. */
  readonly where: string
  /** Where the data lies, by the backend's own word. */
  readonly region?: string
}

/** Whether two settings make the same services. */
export function isSameDataPlane(a: DataPlaneSettings, b: DataPlaneSettings): boolean {
  return DATA_PLANE_KEYS.every((key) => sameSetting(a[key], b[key]))
}

/** The data plane's own services (`postern.dataplane.v1`): those of which the settings name what lies behind. */
export class DataPlane {
  readonly offers: readonly Offer[]
  readonly #objects: ObjectStores
  readonly #metrics: MetricSources
  readonly #secrets: SecretBackends
  readonly #logs: LogSources
  readonly #executors: Executors
  readonly #clickhouse: DataPlaneSettings['clickhouse']

  constructor(
    { stores, prometheus, secrets, logs, executors, clickhouse }: DataPlaneSettings,
    { clock, random, logger }: Pick<Ambient, 'clock' | 'random' | 'logger'>,
    uses = new BackendUses(clock),
    onDispatched: (request: DispatchRequest) => void = () => undefined,
  ) {
    const ports = { clock, random, logger, uses }
    this.#objects = new ObjectStores(stores, ports)
    this.#metrics = new MetricSources(prometheus, ports, clickhouse)
    this.#secrets = new SecretBackends(secrets, ports)
    this.#logs = new LogSources(logs, { ...ports, stores })
    this.#clickhouse = clickhouse
    this.#executors = new Executors(executors, { ...ports, onDispatched })
    this.offers = [
      ...(stores.length === 0 ? [] : this.#objects.offers()),
      ...(prometheus.length + clickhouse.length === 0 ? [] : this.#metrics.offers()),
      ...(secrets.length === 0 ? [] : this.#secrets.offers()),
      ...(logs.length === 0 ? [] : this.#logs.offers()),
      ...(executors.length === 0 ? [] : this.#executors.offers()),
    ]
  }

  /** Asks what lies behind for what a first call would wait for. */
  start(): void {
    this.#objects.start()
  }

  report(): BackendReport[] {
    return [
      ...this.#clickhouse.map(({ name, url }) => ({
        ...{ setting: 'clickhouse' as const, name, kind: 'clickhouse', where: url.origin },
      })),
      ...this.#executors.report().map(({ name, type, url }) => ({
        ...{ setting: 'executors' as const, name, kind: type, where: url },
      })),
      ...this.#objects.report().map(({ name, type, bucket, endpoint, region }) => ({
        ...{
          setting: 'stores' as const,
          name,
          kind: type,
          where: `${type} ${bucket} at ${endpoint}`,
        },
        ...(region === undefined ? {} : { region }),
      })),
      ...this.#secrets
        .report()
        .map(({ name, type }) => ({ setting: 'secrets' as const, name, kind: type, where: type })),
      ...this.#logs
        .report()
        .map(({ name, type, where }) => ({ setting: 'logs' as const, name, kind: type, where })),
      ...this.#metrics.report().map(({ name, url }) => ({
        setting: 'prometheus' as const,
        name,
        kind: 'prometheus',
        where: url,
      })),
    ]
  }
}
