/** Something that takes a while, and is told of when it ends. */
export interface Span {
  /** W3C Trace Context `traceparent` of it, for what it causes. */
  readonly traceparent: string
  /** `status`: of gRPC, by number; `code`: of ours, where there is one. The first time counts. */
  end(status: number, code?: string): void
}

/** Destination of spans, which decides by itself which are kept. */
export interface Tracer {
  /**
   * A span below the one that `traceparent` names, or a trace of its own. `serve`: what a call causes here;
   * `relay`: its way through. Attributes never hold what a call carries.
   */
  start(
    kind: 'serve' | 'relay',
    name: string,
    traceparent: string,
    attributes: Readonly<Record<string, string>>,
  ): Span
  /** Sends what is kept. */
  close(): Promise<void>
}
