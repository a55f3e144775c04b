import {
  defaultTextMapGetter,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import type { Tracer } from '../base/tracing.ts'
import { VERSION } from '../base/version.ts'

const EXPORT_MS_MAX = 5000
const QUEUE_MAX = 2048
const OK = 0
const KINDS = { serve: SpanKind.SERVER, relay: SpanKind.CLIENT } as const
/** https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ */
const STATUS = 'rpc.grpc.status_code'

/** The values and collaborators that `otlpTracer` is given. */
export interface OtlpOptions {
  /** Such as http://127.0.0.1:4318/v1/traces. */
  readonly url: string
  /** Of traces that begin here, how many in a hundred are kept; others follow their parent. */
  readonly percent: number
  readonly service: string
}

/** Spans by OTLP over HTTP to a collector; those that it does not take in time are dropped. */
export function otlpTracer({ url, percent, service }: OtlpOptions): Tracer {
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_MS_MAX })
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': service, 'service.version': VERSION }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(percent / 100) }),
    spanProcessors: [new BatchSpanProcessor({ exporter, maxQueueSize: QUEUE_MAX })],
  })
  const tracer = provider.getTracer('postern', VERSION)
  const context = new W3CTraceContextPropagator()
  return {
    start: (kind, name, traceparent, attributes) => {
      const above = context.extract(ROOT_CONTEXT, { traceparent }, defaultTextMapGetter)
      const span = tracer.startSpan(name, { kind: KINDS[kind], attributes }, above)
      const carrier: Record<string, string> = {}
      context.inject(trace.setSpan(above, span), carrier, {
        set: (into: Record<string, string>, key, value) => {
          into[key] = value
        },
      })
      let hasEnded = false
      return {
        traceparent: carrier.traceparent ?? '',
        end: (status, code) => {
          if (hasEnded) return
          hasEnded = true
          span.setAttribute(STATUS, status)
          if (code !== undefined) span.setAttribute('error.type', code)
          if (status !== OK) span.setStatus({ code: SpanStatusCode.ERROR })
          span.end()
        },
      }
    },
    // What the collector does not take is lost, and no reason to end otherwise than well.
    close: async () => {
      await provider.shutdown().catch(() => undefined)
    },
  }
}
