import type { DataType } from '../contract/data-type.ts'
import type { Metadata } from '../wire/metadata.ts'

/** How one call is made. */
export interface CallOptions {
  /** Time the call may take in all, in ms, at both ends. Undefined: no deadline. */
  readonly timeoutMs?: number
  /** Cancels the call; the handler's signal follows within one round trip. */
  readonly signal?: AbortSignal
  readonly metadata?: Metadata
  /** W3C Trace Context `traceparent`. */
  readonly traceparent?: string
  /** Token of the user that the caller acts for (OIDC JWT), for agents whose policy asks for it. */
  readonly userToken?: string
  /** What kind of data crosses, where the caller declares it. The agent's own policy decides. */
  readonly dataType?: DataType
  /** Told the metadata that the answer begins with, where it begins with any, before anything else of it. */
  readonly onHeaders?: (metadata: Metadata) => void
  /** Told the metadata that came with the status, before the call ends; errors have it as their own too. */
  readonly onTrailers?: (metadata: Metadata) => void
}
