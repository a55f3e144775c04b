import { readClickhouse, showClickhouse } from './clickhouse-row.ts'
import { readExecutor, showExecutor } from './executor-row.ts'
import { readLogs, showLogs } from './logs-row.ts'
import { readPrometheus, showPrometheus } from './prometheus-row.ts'
import { readSecrets, showSecrets } from './secrets-row.ts'
import { rows, type SettingsOf } from './setting.ts'
import { readStore, showStore } from './store-row.ts'

/** What lies behind the data plane's own services (`postern.dataplane.v1`). All of it may change at run time. */
export const DATA_PLANE_SETTINGS = {
  stores: rows(
    'Object stores that hold task-io, code-bundle and report, which cross by presigned URL alone (docs/DATA-PLANE.md): name, type (s3, gcs, azure), bucket, prefixes by type of data, and where needed endpoint, region, addressing, caFile, urlMax (at most 1h), uploadMax, overwrite, encryption, encryptionKey, credentialsFile, profile, signEndpoint (of gcs).',
    'list of stores',
    readStore,
    showStore,
  ),
  prometheus: rows(
    'Sources of metrics that callers may query (docs/DATA-PLANE.md): name, url, metrics (names that may be asked for), and where needed labels (that every series must have), caFile, certificateFile, keyFile, tokenFile, rangeMax, pointsMax, bytesMax, timeout, plaintext.',
    'list of sources',
    readPrometheus,
    showPrometheus,
  ),
  secrets: rows(
    'Backends that callers may write secrets into, and read none back (docs/DATA-PLANE.md): name, type (files, kubernetes, vault, aws, gcp, azure), and of files directory and recipient (age1...); of kubernetes namespace, url, caFile, tokenFile; of vault url, mount, prefix, caFile, tokenFile; of aws region, endpoint, prefix, caFile, kmsKey, credentialsFile, profile; of gcp project, endpoint, prefix, caFile, credentialsFile; of azure url, prefix, caFile.',
    'list of backends',
    readSecrets,
    showSecrets,
  ),
  logs: rows(
    'Logs that callers may be told (docs/DATA-PLANE.md): name, type (files, journald, kubernetes, loki, cloudwatch, google, azure, objects), and where needed lineMax, and redact (pattern in RE2 syntax, replacement); texts may hold labels, as {run}. Of files directory and path; of journald match and directory; of kubernetes namespace, pod, container, url, caFile, tokenFile; of loki url, match, tenant, caFile, certificateFile, keyFile, tokenFile; of cloudwatch region, group, stream, endpoint, caFile, credentialsFile, profile; of google project, match, endpoint, caFile, credentialsFile; of azure workspace, match, table, timeColumn, textColumn, url, caFile; of objects store and prefix. Of those that keep times settle, reach and interval too.',
    'list of sources',
    readLogs,
    showLogs,
  ),
  clickhouse: rows(
    'ClickHouse servers whose named queries callers may run (docs/DATA-PLANE.md): name, url, queries (name, sql: it begins with SELECT or WITH, and holds parameters as {name:Type}), and where needed user, passwordFile, database, rowsMax, bytesMax, timeout, settings (of-profile), caFile, certificateFile, keyFile, plaintext.',
    'list of servers',
    readClickhouse,
    showClickhouse,
  ),
  executors: rows(
    'Executors that definitions of tasks may be handed to (docs/DATA-PLANE.md): name, url, images (repositories whose images may run, with a star at the end for any end), and where needed type (http, grpc), digests (required), literalMax, caFile, certificateFile, keyFile, tokenFile, timeout, plaintext.',
    'list of executors',
    readExecutor,
    showExecutor,
  ),
} as const

/** The values of these settings. */
export type DataPlaneSettings = SettingsOf<typeof DATA_PLANE_SETTINGS>

/** Their names. */
export const DATA_PLANE_KEYS = Object.keys(DATA_PLANE_SETTINGS) as (keyof DataPlaneSettings)[]
