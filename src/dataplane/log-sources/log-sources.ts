import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { readPublicFile } from '../../identity/key-files.ts'
import { AHEAD_BYTES } from '../log-lines.ts'
import type { LogSource } from '../log-source.ts'
import type { LogsRow, ObjectsLogsRow } from '../logs-row.ts'
import { openStore } from '../objects/objects.ts'
import type { StoreRow } from '../store-row.ts'
import { TimedLogs } from './timed-log.ts'

/** The collaborators of sources of logs. */
export interface SourcePorts {
  readonly clock: Clock
  readonly random: Pick<Random, 'hex'>
  readonly logger: Logger
  readonly stores: readonly StoreRow[]
}

/** Opens a source with what its kind alone needs, which is read for that. @throws FILE_UNREADABLE, KEY_EXPOSED, CREDENTIALS_MISSING */
export async function openLogSource(settings: LogsRow, ports: SourcePorts): Promise<LogSource> {
  const row = { ...settings, lineBytesMax: settings.lineBytesMax + AHEAD_BYTES }
  const { clock } = ports
  switch (row.type) {
    case 'files': {
      const { LogFiles } = await import('../log-files/log-files.ts')
      return new LogFiles(row, clock)
    }
    case 'journald': {
      const { Journald } = await import('./journald.ts')
      return new Journald(row)
    }
    case 'kubernetes': {
      const { KubernetesLogs } = await import('./kubernetes-logs.ts')
      return new KubernetesLogs(row, clock)
    }
    case 'loki': {
      const { Loki } = await import('./loki.ts')
      return new TimedLogs(new Loki(row), row, clock)
    }
    case 'cloudwatch': {
      const { Cloudwatch } = await import('./cloudwatch.ts')
      return new TimedLogs(await Cloudwatch.open(row, clock), row, clock)
    }
    case 'google': {
      const { GoogleLogging } = await import('./google-logging.ts')
      return new TimedLogs(await GoogleLogging.open(row), row, clock)
    }
    case 'azure': {
      const { AzureMonitor } = await import('./azure-monitor.ts')
      return new TimedLogs(await AzureMonitor.open(row), row, clock)
    }
    case 'objects':
      return await openObjects(row, ports)
  }
}

async function openObjects(row: ObjectsLogsRow, ports: SourcePorts): Promise<LogSource> {
  const storeRow = ports.stores.find(({ name }) => name === row.store)
  if (storeRow === undefined)
    throw new PosternError('CONFIG_INVALID', `logs: ${row.name}: no row of stores is ${row.store}`)
  const [{ ObjectLogs }, { ObjectReader }] = await Promise.all([
    import('./object-logs.ts'),
    import('./object-reader.ts'),
  ])
  const store = await openStore(storeRow, ports)
  const { caFile } = storeRow
  const { clock } = ports
  const caPem = caFile === undefined ? undefined : readPublicFile(caFile)
  return new ObjectLogs(row, { store, clock, reader: new ObjectReader(store, clock, caPem) })
}
