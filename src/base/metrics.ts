import { Counter, Gauge, Registry } from 'prom-client'

/** One row of a table of metrics; docs/METRICS.md is generated from it. */
export interface MetricRow {
  readonly name: string
  readonly kind: 'gauge' | 'counter'
  readonly help: string
  readonly labels?: readonly string[]
}

/** One value of a metric, with its labels. */
export interface Sample {
  readonly name: string
  readonly value: number
  readonly labels?: Readonly<Record<string, string>>
}

/** Metrics that are read when they are asked for, so that they cost nothing in between. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #byName = new Map<string, Gauge | Counter>()
  readonly #bareGauges: Gauge[] = []
  readonly #collect: () => Promise<readonly Sample[]>
  readonly #more: () => Promise<string>

  /** `more`: text of others in the same format, which follows. */
  constructor(
    rows: readonly MetricRow[],
    collect: () => Promise<readonly Sample[]>,
    more: () => Promise<string> = () => Promise.resolve(''),
  ) {
    this.#collect = collect
    this.#more = more
    for (const { name, kind, help, labels = [] } of rows) {
      const options = { name, help, labelNames: [...labels], registers: [this.#registry] }
      const metric = kind === 'gauge' ? new Gauge(options) : new Counter(options)
      this.#byName.set(name, metric)
      if (labels.length === 0 && metric instanceof Gauge) this.#bareGauges.push(metric)
    }
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** All of them in Prometheus' text format. */
  async text(): Promise<string> {
    const samples = await this.#collect()
    this.#registry.resetMetrics()
    // The library begins a gauge without labels at 0, which would be read as a value: what has none is absent.
    for (const gauge of this.#bareGauges) gauge.remove()
    for (const { name, value, labels = {} } of samples) {
      const metric = this.#byName.get(name)
      // A counter begins anew at each reading, and takes the whole count at once.
      metric?.inc(labels, value)
    }
    return (await this.#registry.metrics()) + (await this.#more())
  }
}
