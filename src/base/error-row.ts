/**
 * What may be done next: `retry` the same thing later, `reauthenticate` first (the credential is
 * at fault), or `give-up` until a person has changed something.
 */
export type Recovery = 'retry' | 'reauthenticate' | 'give-up'

/** One row of the table of errors: what to do, exit status, gRPC status, and what it means. */
export interface ErrorCodeRow {
  readonly recovery: Recovery
  /** Exit status of a command that ends with this error (sysexits.h where it has a number). */
  readonly exit: number
  /** Status that a caller sees when this error ends its call. */
  readonly grpc: string
  readonly meaning: string
}

/** Makes a row of the table of errors. */
export const row = (
  recovery: Recovery,
  exit: number,
  grpc: string,
  meaning: string,
): ErrorCodeRow => ({
  recovery,
  exit,
  grpc,
  meaning,
})
