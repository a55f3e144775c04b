import { asPosternError, type ErrorCode } from '../../src/base/errors.ts'
import type { Forwarded } from '../../src/caller/join-forward.ts'

/** Resolves to the code that a forward ends with; undefined where all went well. */
export async function codeOfForward(forward: Promise<Forwarded>): Promise<ErrorCode | undefined> {
  return await forward.then(
    () => undefined,
    (error: unknown) => asPosternError(error).code,
  )
}
