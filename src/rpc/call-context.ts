import type { Caller } from './caller.ts'
import { TRACEPARENT } from '../wire/open-head.ts'
import { decodeMetadata, type Metadata } from '../wire/metadata.ts'
import { dataTypeOfNumber, type DataType } from '../wire/data-type.ts'
import type { OpenHead } from '../wire/open-head.ts'

/** The facts of a call for its handler: caller, method, deadline, metadata. */
export class CallContext {
  readonly caller: Caller
  /** "package.Service/Method", or the service of a forward. */
  readonly name: string
  readonly cluster: string
  /** W3C Trace Context `traceparent`; empty where there was none, or none that is well formed. */
  readonly traceparent: string
  /** What kind of data the caller says crosses; undefined where it leaves that to this side. */
  readonly dataType: DataType | undefined
  /** Monotonic. */
  readonly arrivedAtMs: number
  /** Monotonic; undefined: no deadline. */
  readonly deadlineAtMs: number | undefined
  readonly metadata: Metadata
  #abort: AbortController | undefined
  #abortReason: Error | undefined

  /** @throws MALFORMED_CALL, HEAD_TOO_LARGE for its metadata */
  constructor(head: OpenHead, bytes: Buffer, caller: Caller, nowMs: number) {
    this.caller = caller
    this.name = head.name
    this.cluster = head.cluster
    this.traceparent = TRACEPARENT.test(head.traceparent) ? head.traceparent : ''
    this.dataType = head.dataType === 0 ? undefined : dataTypeOfNumber(head.dataType)
    this.deadlineAtMs = head.timeoutMs === 0 ? undefined : nowMs + head.timeoutMs
    this.arrivedAtMs = nowMs
    this.metadata = decodeMetadata(bytes, head.metadataStart, head.bodyStart)
  }

  /** Aborted when the caller cancels, the deadline passes or the tunnel is lost. Made when first asked for. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#abortReason !== undefined) this.#abort.abort(this.#abortReason)
    }
    return this.#abort.signal
  }

  /** For the server alone. */
  abort(reason: Error): void {
    this.#abortReason ??= reason
    this.#abort?.abort(reason)
  }
}
