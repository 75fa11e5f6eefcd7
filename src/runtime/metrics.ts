import { AggregatorRegistry, Counter, Gauge, type Metric, Registry } from 'prom-client';

/** One line of a family. */
export interface Sample {
  /** `_bucket`, `_sum` and `_count` of histograms. */
  readonly suffix?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Of one thread, as structured clone takes it; only `Metrics` knows what it holds. */
export type MetricsSnapshot = readonly object[];

/** What the same metric of several threads comes to. */
type Together = 'sum' | 'max';

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly read: () => readonly Sample[];
}

/** The process's metrics, in the Prometheus text format. The only file that knows the library. */
export class Metrics {
  readonly #registry = new Registry();
  #others: () => Promise<readonly MetricsSnapshot[]> = async () => [];

  counter<L extends string>(name: string, help: string, labels: readonly L[] = []): Counter<L> {
    return new Counter({ name, help, labelNames: labels, registers: [this.#registry] });
  }

  gauge<L extends string>(name: string, help: string, labels: readonly L[] = []): Gauge<L> {
    return new Gauge({ name, help, labelNames: labels, registers: [this.#registry] });
  }

  /** What its owner counts by itself, and tells when somebody looks. */
  family({ name, help, type, read }: Family): void {
    const values = () => read().map(({ suffix = '', ...sample }) => ({ ...sample, metricName: name + suffix }));
    const plain = { name, help, type, aggregator: 'sum' };
    const metric = { ...plain, reset() {}, get: async () => ({ ...plain, values: values() }) };
    // The registry asks for no more than this of what it holds, but its type names the library's own classes.
    this.#registry.registerMetric(metric as unknown as Metric);
  }

  /** A gauge that is computed when somebody looks. */
  observed(name: string, help: string, read: () => number, together: Together = 'sum'): void {
    new Gauge({
      name,
      help,
      aggregator: together,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** Other threads count too: what is rendered is of all. */
  merge(others: () => Promise<readonly MetricsSnapshot[]>): void {
    this.#others = others;
  }

  /** For the thread that renders. */
  snapshot(): Promise<MetricsSnapshot> {
    return this.#registry.getMetricsAsJSON();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async render(): Promise<string> {
    const others = await this.#others();
    if (others.length === 0) return await this.#registry.metrics();
    return await AggregatorRegistry.aggregate([await this.snapshot(), ...others] as object[]).metrics();
  }
}

export type { Counter };
