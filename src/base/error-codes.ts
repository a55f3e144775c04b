import type { ErrorCodeRow } from './error-row.ts'
import { LOCAL_ERRORS } from './local-errors.ts'
import { PEER_ERRORS } from './peer-errors.ts'
import { SERVICE_ERRORS } from './service-errors.ts'
export type { ErrorCodeRow, Recovery } from './error-row.ts'

/**
 * The closed table of errors. A code is permanent once released: logs, exit statuses and runbooks
 * cite it. `docs/ERRORS.md` is generated from here, and a test provokes each code.
 */
export const ERROR_CODES = {
  ...LOCAL_ERRORS,
  ...PEER_ERRORS,
  ...SERVICE_ERRORS,
} as const satisfies Record<string, ErrorCodeRow>

/** The code of an error. */
export type ErrorCode = keyof typeof ERROR_CODES
