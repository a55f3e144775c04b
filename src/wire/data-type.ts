/** The kinds of data of docs/ARCHITECTURE.md, "Data rules". The number travels in OPEN. */
export const DATA_TYPES = {
  'task-io': { number: 1, crosses: 'never', holds: 'what tasks take in and give out' },
  'code-bundle': { number: 2, crosses: 'never', holds: 'code of tasks' },
  report: { number: 3, crosses: 'never', holds: 'reports that tasks make, such as HTML' },
  'container-image': { number: 4, crosses: 'never', holds: 'images of containers' },
  'task-log': { number: 5, crosses: 'relay', holds: 'what tasks print' },
  secret: { number: 6, crosses: 'relay', holds: 'secrets, as they are put in place' },
  metric: { number: 7, crosses: 'relay', holds: 'metrics, such as the answers of Prometheus' },
  'task-definition': { number: 8, crosses: 'yes', holds: 'definitions of tasks and workflows' },
  'run-metadata': { number: 9, crosses: 'yes', holds: 'what ran, when, with which outcome' },
  'user-identity': { number: 10, crosses: 'never', holds: 'users, their roles and rights' },
  'cluster-record': { number: 11, crosses: 'yes', holds: 'what a cluster is, can and how it does' },
  'service-traffic': {
    number: 12,
    crosses: 'relay',
    holds: "a service's own protocol that nobody can classify, such as a database's",
  },
} as const satisfies Record<string, DataTypeRow>

/** One row of the table of data types: its number on the wire, whether it crosses, and what it holds. */
export interface DataTypeRow {
  readonly number: number
  /** `relay`: in memory only, never stored or logged on either side. */
  readonly crosses: 'yes' | 'relay' | 'never'
  /** What is of this type, in words for the settings of services. */
  readonly holds: string
}

/** What no wildcard of a policy allows: its services are named one by one. */
export const NAMED_ONLY: readonly DataType[] = ['service-traffic']

/** The name of a data type. */
export type DataType = keyof typeof DATA_TYPES

/** The names of all data types, in the order of the table. */
export const DATA_TYPE_NAMES = Object.keys(DATA_TYPES) as readonly DataType[]

/** The number in OPEN of a call whose caller leaves the type to the agent. */
export const DATA_TYPE_UNSPECIFIED = 0

/** Returns the number of a data type on the wire; 0 stands for none declared. */
export function dataTypeNumber(type: DataType | undefined): number {
  return type === undefined ? DATA_TYPE_UNSPECIFIED : DATA_TYPES[type].number
}

/** Undefined for 0 and for numbers that this version does not know. */
export function dataTypeOfNumber(number: number): DataType | undefined {
  return DATA_TYPE_NAMES.find((name) => DATA_TYPES[name].number === number)
}
