import { Counter, Gauge, type Metric, Registry } from 'prom-client';

/** One line of a family. */
export interface Sample {
  /** `_bucket`, `_sum` and `_count` of histograms. */
  readonly suffix?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly read: () => readonly Sample[];
}

/** The process's metrics, in the Prometheus text format. The only file that knows the library. */
export class Metrics {
  readonly #registry = new Registry();

  counter<L extends string>(name: string, help: string, labels: readonly L[] = []): Counter<L> {
    return new Counter({ name, help, labelNames: labels, registers: [this.#registry] });
  }

  gauge<L extends string>(name: string, help: string, labels: readonly L[] = []): Gauge<L> {
    return new Gauge({ name, help, labelNames: labels, registers: [this.#registry] });
  }

  /** What its owner counts by itself, and tells when somebody looks. */
  family({ name, help, type, read }: Family): void {
    const values = () => read().map(({ suffix = '', ...sample }) => ({ ...sample, metricName: name + suffix }));
    const metric = { name, help, type, reset() {}, get: async () => ({ name, help, type, values: values() }) };
    // The registry asks for no more than this of what it holds, but its type names the library's own classes.
    this.#registry.registerMetric(metric as unknown as Metric);
  }

  /** A gauge that is computed when somebody looks. */
  observed(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  render(): Promise<string> {
    return this.#registry.metrics();
  }
}

export type { Counter };
