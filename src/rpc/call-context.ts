import type { Permit } from '../contract/call-guard.ts'
import type { Caller } from '../contract/caller.ts'
import { TRACEPARENT } from '../wire/open-head.ts'
import type { Metadata } from '../wire/metadata.ts'
import { dataTypeOfNumber, type DataType } from '../contract/data-type.ts'
import type { OpenHead } from '../wire/open-head.ts'

const NO_METADATA: Metadata = Object.freeze({})

/** The facts of a call for its handler: caller, method, deadline, metadata. */
export class CallContext {
  readonly caller: Caller
  /** "package.Service/Method", or the service of a forward. */
  readonly name: string
  readonly cluster: string
  /** Key of the connection that it came over. */
  readonly tunnel: string
  /** W3C Trace Context `traceparent`; empty where there was none, or none that is well formed. */
  readonly traceparent: string
  /** What kind of data the caller says crosses; undefined where it leaves that to this side. */
  readonly dataType: DataType | undefined
  /** Monotonic. */
  readonly arrivedAtMs: number
  /** Monotonic; undefined: no deadline. */
  readonly deadlineAtMs: number | undefined
  readonly metadata: Metadata
  /** The leave to run, and the account of what crosses. */
  readonly permit: Permit
  /** Metadata that goes with the status OK, where the policy lets its names through. */
  trailers: Metadata = NO_METADATA
  /** For the server alone: takes what the answer begins with. */
  onHeaders: ((metadata: Metadata) => void) | undefined
  #abort: AbortController | undefined
  #abortReason: Error | undefined

  constructor(
    head: OpenHead,
    {
      metadata,
      caller,
      permit,
      tunnel,
      nowMs,
    }: Pick<CallContext, 'metadata' | 'caller' | 'permit' | 'tunnel'> & { readonly nowMs: number },
  ) {
    this.tunnel = tunnel
    this.caller = caller
    this.permit = permit
    this.name = head.name
    this.cluster = head.cluster
    this.traceparent = TRACEPARENT.test(head.traceparent) ? head.traceparent : ''
    this.dataType = head.dataType === 0 ? undefined : dataTypeOfNumber(head.dataType)
    this.deadlineAtMs = head.timeoutMs === 0 ? undefined : nowMs + head.timeoutMs
    this.arrivedAtMs = nowMs
    this.metadata = metadata
  }

  /** Aborted when the caller cancels, the deadline passes or the tunnel is lost. Made when first asked for. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#abortReason !== undefined) this.#abort.abort(this.#abortReason)
    }
    return this.#abort.signal
  }

  /** Begins the answer with metadata, where the policy lets its names through: once, before its first message. */
  sendHeaders(metadata: Metadata): void {
    this.onHeaders?.(metadata)
    this.onHeaders = undefined
  }

  /** For the server alone. */
  abort(reason: Error): void {
    this.#abortReason ??= reason
    this.#abort?.abort(reason)
  }
}
