import type { BackendFiles } from './backend-files.ts'
import type { TextPiece } from './log-labels.ts'

/** The kinds of sources of logs. */
export const LOGS_TYPES = [
  ...(['files', 'journald', 'kubernetes', 'loki', 'cloudwatch', 'google', 'azure'] as const),
  'objects',
] as const
/** A kind of source of logs. */
export type LogsType = (typeof LOGS_TYPES)[number]

/** What is put in the place of what matches. */
export interface Redaction {
  /** RE2 syntax. */
  readonly pattern: string
  readonly replacement: string
}

/** What every row of `logs:` has. */
export interface LogsRules {
  readonly name: string
  readonly lineBytesMax: number
  readonly redact: readonly Redaction[]
}

/** Of sources that are asked for a span of time again and again. */
export interface TimedRules {
  /** Lines younger than this are not told yet: what comes late is still told in its order. */
  readonly settleMs: number
  /** How far back lines are looked for. */
  readonly reachMs: number
  /** Time between two looks for what has come. */
  readonly lookMs: number
}

type Text = readonly TextPiece[]

/** Files with rotation. */
export interface FilesLogsRow extends LogsRules {
  readonly type: 'files'
  /** Nothing outside of it is read, whatever links say. */
  readonly directory: string
  /** Below it, segment by segment. */
  readonly path: readonly Text[]
}

/** The journal of systemd. */
export interface JournaldLogsRow extends LogsRules {
  readonly type: 'journald'
  /** Fields of entries (systemd.journal-fields(7)), and what they must be. */
  readonly match: ReadonlyMap<string, Text>
  /** Default: the machine's own. */
  readonly directory: string | undefined
}

/** Containers, by the API server. */
export interface KubernetesLogsRow extends LogsRules {
  readonly type: 'kubernetes'
  readonly url: URL
  readonly caFile: string
  readonly tokenFile: string
  readonly namespace: Text
  readonly pod: Text
  /** Default: the only one of the pod. */
  readonly container: Text | undefined
}

/** Grafana Loki. */
export interface LokiLogsRow extends LogsRules, TimedRules, BackendFiles {
  readonly type: 'loki'
  readonly url: URL
  /** X-Scope-OrgID. */
  readonly tenant: string | undefined
  /** Labels of streams. */
  readonly match: ReadonlyMap<string, Text>
}

/** Streams of Amazon CloudWatch Logs. */
export interface CloudwatchLogsRow extends LogsRules, TimedRules {
  readonly type: 'cloudwatch'
  readonly region: string
  readonly endpoint: URL
  readonly group: Text
  readonly stream: Text
  readonly caFile: string | undefined
  readonly credentialsFile: string | undefined
  readonly profile: string | undefined
}

/** Google Cloud Logging. */
export interface GoogleLogsRow extends LogsRules, TimedRules {
  readonly type: 'google'
  readonly endpoint: URL
  readonly project: string
  /** Fields of LogEntry. */
  readonly match: ReadonlyMap<string, Text>
  readonly caFile: string | undefined
  readonly credentialsFile: string | undefined
}

/** A table of a workspace of Azure Monitor. */
export interface AzureLogsRow extends LogsRules, TimedRules {
  readonly type: 'azure'
  readonly url: URL
  readonly workspace: string
  readonly table: string
  readonly timeColumn: string
  readonly textColumn: string
  readonly match: ReadonlyMap<string, Text>
  readonly caFile: string | undefined
}

/** Logs that were put into an object store: one log is what lies under a prefix, in the order of its keys. */
export interface ObjectsLogsRow extends LogsRules {
  readonly type: 'objects'
  /** Name of a row of `stores`. */
  readonly store: string
  readonly prefix: Text
}

/** One row of `logs:`. */
export type LogsRow =
  | FilesLogsRow
  | JournaldLogsRow
  | KubernetesLogsRow
  | LokiLogsRow
  | CloudwatchLogsRow
  | GoogleLogsRow
  | AzureLogsRow
  | ObjectsLogsRow
