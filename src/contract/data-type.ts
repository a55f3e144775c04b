/** The number in OPEN of each kind of data (docs/PROTOCOL.md, section 7); `guard/catalog.ts` says what may be done with it. */
const NUMBERS = {
  'task-io': 1,
  'code-bundle': 2,
  report: 3,
  'container-image': 4,
  'task-log': 5,
  secret: 6,
  metric: 7,
  'task-definition': 8,
  'run-metadata': 9,
  'user-identity': 10,
  'cluster-record': 11,
  'service-traffic': 12,
  'presigned-url': 13,
  own: 14,
} as const

/** The name of a data type. */
export type DataType = keyof typeof NUMBERS

/** The names of all data types, in the order of their numbers. */
export const DATA_TYPE_NAMES = Object.keys(NUMBERS) as readonly DataType[]

/** The number in OPEN of a call whose caller leaves the type to the agent. */
export const DATA_TYPE_UNSPECIFIED = 0

/** Returns the number of a data type on the wire; 0 stands for none declared. */
export function dataTypeNumber(type: DataType | undefined): number {
  return type === undefined ? DATA_TYPE_UNSPECIFIED : NUMBERS[type]
}

/** Returns the data type of a number; undefined for 0 and for numbers that this version does not know. */
export function dataTypeOfNumber(number: number): DataType | undefined {
  return DATA_TYPE_NAMES[number - 1]
}

/** What a method or service moves, as its description declares it. */
export interface CallData {
  /** What it is for, and is counted as. */
  readonly carries: DataType
  /** Of its requests and of its responses: the same, but for methods that say otherwise. */
  readonly request: DataType
  readonly response: DataType
  /** What it is about without carrying it, as a URL is about the object behind it. */
  readonly about: readonly DataType[]
  /** The field of the request that says which of `about` a call is. */
  readonly aboutField?: string
  /** Largest message in bytes, where it is not the default of the type. */
  readonly messageBytesMax?: number
}

/** Returns the data of a service or method that moves one type, both ways, and is about nothing else. */
export function plainData(carries: DataType): CallData {
  return { carries, request: carries, response: carries, about: [] }
}
