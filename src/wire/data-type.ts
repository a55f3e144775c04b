/** The kinds of data of docs/ARCHITECTURE.md, "Data rules". The number travels in OPEN. */
export const DATA_TYPES = {
  'task-io': { number: 1, crosses: 'never' },
  'code-bundle': { number: 2, crosses: 'never' },
  report: { number: 3, crosses: 'never' },
  'container-image': { number: 4, crosses: 'never' },
  'task-log': { number: 5, crosses: 'relay' },
  secret: { number: 6, crosses: 'relay' },
  metric: { number: 7, crosses: 'relay' },
  'task-definition': { number: 8, crosses: 'yes' },
  'run-metadata': { number: 9, crosses: 'yes' },
  'user-identity': { number: 10, crosses: 'never' },
  'cluster-record': { number: 11, crosses: 'yes' },
} as const satisfies Record<string, DataTypeRow>

export interface DataTypeRow {
  readonly number: number
  /** `relay`: in memory only, never stored or logged on either side. */
  readonly crosses: 'yes' | 'relay' | 'never'
}

export type DataType = keyof typeof DATA_TYPES

export const DATA_TYPE_NAMES = Object.keys(DATA_TYPES) as readonly DataType[]

/** The number in OPEN of a call whose caller leaves the type to the agent. */
export const DATA_TYPE_UNSPECIFIED = 0

export function dataTypeNumber(type: DataType | undefined): number {
  return type === undefined ? DATA_TYPE_UNSPECIFIED : DATA_TYPES[type].number
}

/** Undefined for 0 and for numbers that this version does not know. */
export function dataTypeOfNumber(number: number): DataType | undefined {
  return DATA_TYPE_NAMES.find((name) => DATA_TYPES[name].number === number)
}
