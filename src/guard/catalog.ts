import { DATA_TYPE_NAMES, type DataType } from '../contract/data-type.ts'

/** Version of the table: it grows by every change of a row. */
export const CATALOG_VERSION = 1

/** Whose data it is. */
export type Classification = 'customer data' | 'orchestration metadata' | 'platform metadata'

/**
 * What may be done with data of a type. `never`: it does not cross. `relay`: it crosses in memory only, bounded, never stored
 * or logged on either side. `metadata`: bounded messages of known fields cross. `control plane only`: it stays on that side.
 */
export type DataRule = 'never' | 'relay' | 'metadata' | 'control plane only'

/** One row of the catalog of data types. */
export interface CatalogRow {
  /** As the table for reviewers names it. */
  readonly title: string
  readonly classification: Classification
  /** Where such data lies. */
  readonly residency: string
  readonly rule: DataRule
  /** What is of this type, in words for the settings of services. */
  readonly holds: string
  /** Largest message, in bytes, where neither method nor rule says less. Undefined: what the server takes at most. */
  readonly messageBytesMax?: number
  /** Longest string or bytes field of a message, in bytes. Undefined: as long as the message may be. */
  readonly fieldBytesMax?: number
  /** No wildcard of a policy allows it: its services and methods are named one by one. */
  readonly isNamedOnly?: boolean
  /** Calls must be sealed, unless the customer's policy says otherwise. */
  readonly isSealed?: boolean
  /** The call to use in place of one that would carry it. */
  readonly instead?: string
}

const KIB = 1024
const STORE = "customer's object store"
const DATABASE = 'control plane database'
const PRESIGNED =
  'postern.dataplane.v1.ObjectStore/CreateDownloadUrl or CreateUploadUrl: only a presigned URL crosses, the bytes go direct'

/** The closed table of data types: what each is, where it lies, and whether it may cross. */
export const CATALOG: Readonly<Record<DataType, CatalogRow>> = {
  'task-io': {
    title: 'Task inputs/outputs',
    classification: 'customer data',
    residency: STORE,
    rule: 'never',
    holds: 'what tasks take in and give out',
    instead: PRESIGNED,
  },
  'code-bundle': {
    title: 'Code bundles',
    classification: 'customer data',
    residency: STORE,
    rule: 'never',
    holds: 'code of tasks',
    instead: PRESIGNED,
  },
  report: {
    title: 'Reports (HTML)',
    classification: 'customer data',
    residency: STORE,
    rule: 'never',
    holds: 'reports that tasks make, such as HTML',
    instead: PRESIGNED,
  },
  'container-image': {
    title: 'Container images',
    classification: 'customer data',
    residency: "customer's registry",
    rule: 'never',
    holds: 'images of containers',
  },
  'task-log': {
    title: 'Task logs',
    classification: 'customer data',
    residency: "customer's log aggregator",
    rule: 'relay',
    holds: 'what tasks print',
  },
  secret: {
    title: 'Secrets',
    classification: 'customer data',
    residency: "customer's secrets backend",
    rule: 'relay',
    holds: 'secrets, as they are put in place',
    isSealed: true,
  },
  metric: {
    title: 'Observability metrics',
    classification: 'customer data',
    residency: "customer's data plane",
    rule: 'relay',
    holds: 'metrics, such as the answers of Prometheus',
  },
  'task-definition': {
    title: 'Task definitions',
    classification: 'orchestration metadata',
    residency: DATABASE,
    rule: 'metadata',
    holds: 'definitions of tasks and workflows',
    messageBytesMax: 64 * KIB,
  },
  'run-metadata': {
    title: 'Run/action metadata',
    classification: 'orchestration metadata',
    residency: DATABASE,
    rule: 'metadata',
    holds: 'what ran, when, with which outcome',
    messageBytesMax: 64 * KIB,
    fieldBytesMax: 4 * KIB,
  },
  'user-identity': {
    title: 'User identity/RBAC',
    classification: 'platform metadata',
    residency: DATABASE,
    rule: 'control plane only',
    holds: 'users, their roles and rights',
  },
  'cluster-record': {
    title: 'Cluster records',
    classification: 'platform metadata',
    residency: DATABASE,
    rule: 'metadata',
    holds: 'what a cluster is, can and how it does',
    messageBytesMax: 64 * KIB,
    fieldBytesMax: 4 * KIB,
  },
  'service-traffic': {
    title: 'Service traffic',
    classification: 'customer data',
    residency: 'the service that is named',
    rule: 'relay',
    holds: "a service's own protocol that nobody can classify, such as a database's",
    isNamedOnly: true,
  },
  'presigned-url': {
    title: 'Presigned URLs',
    classification: 'customer data',
    residency: 'nowhere: made for one call',
    rule: 'relay',
    holds: 'a bearer credential to one object, for minutes',
    messageBytesMax: 64 * KIB,
    isSealed: true,
  },
  own: {
    title: 'Own control traffic',
    classification: 'platform metadata',
    residency: 'both ends of the tunnel',
    rule: 'metadata',
    holds: "Postern's registration, heartbeats, notices, certificates and diagnostics",
    messageBytesMax: 1024 * KIB,
  },
}

/** Whether anything of a type may cross the tunnel. */
export function mayCross(type: DataType): boolean {
  const { rule } = CATALOG[type]
  return rule === 'relay' || rule === 'metadata'
}

/** Returns why nothing of a type crosses, and what to use instead. */
export function neverText(type: DataType): string {
  const { rule, instead } = CATALOG[type]
  const why =
    rule === 'control plane only' ? 'stays in the control plane' : 'never crosses the tunnel'
  return `data of type ${type} ${why}${instead === undefined ? '' : `; use ${instead}`}`
}

/** Returns the names of the types that services may be declared with. */
export function crossingTypes(): readonly DataType[] {
  return DATA_TYPE_NAMES.filter((type) => mayCross(type) && type !== 'own')
}
