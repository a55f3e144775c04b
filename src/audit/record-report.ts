/** How a record is kept. */
export interface RecordSettings {
  readonly directory: string
  /** Nothing younger is ever dropped, in ms. */
  readonly keepMs: number
  /** All files together, in bytes. */
  readonly bytesMax: number
  /** Of one file. */
  readonly segmentBytesMax: number
  readonly segmentAgeMs: number
}

/** How far a record goes, and whether it can be written. */
export interface RecordReport {
  readonly lines: number
  readonly head: string
  readonly key: string
  readonly failure: string | undefined
  /** Of the bytes that it may have, those that nothing may be dropped of, from 0 to 1. */
  readonly heldShare: number
  /** Lines that could not be written, and were let go. */
  readonly lost: number
}
