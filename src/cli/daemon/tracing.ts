import type { Tracer } from '../../base/tracing.ts'

/** The settings that say where spans go. */
export interface TracingSettings {
  readonly 'tracing.url': string | undefined
  readonly 'tracing.percent': number
}

/** What tracing needs is read only where somebody wants it. */
export async function tracerOf(
  { 'tracing.url': url, 'tracing.percent': percent }: TracingSettings,
  service: string,
): Promise<Tracer | undefined> {
  if (url === undefined) return undefined
  const { otlpTracer } = await import('../../tracing/otlp.ts')
  return otlpTracer({ url, percent, service })
}
