import { ExponentialHistogram } from '#runtime/exponential-histogram.ts';
import type { Metrics } from '#runtime/metrics.ts';

/** What the API server asked, and how long it waited. */
export class WebhookMetrics {
  readonly #counts = new Map<string, { webhook: string; outcome: string; count: number }>();
  readonly #durations = new Map<string, ExponentialHistogram>();
  #handshakesFailed = 0;

  answered(webhook: string, outcome: string, ms: number): void {
    const key = `${webhook} ${outcome}`;
    const entry = this.#counts.get(key) ?? { webhook, outcome, count: 0 };
    entry.count++;
    this.#counts.set(key, entry);
    const durations = this.#durations.get(webhook) ?? new ExponentialHistogram();
    durations.observe(ms / 1000);
    this.#durations.set(webhook, durations);
  }

  handshakeFailed(): void {
    this.#handshakesFailed++;
  }

  register(metrics: Metrics): void {
    metrics.family({
      name: 'cellmesh_admissions_total',
      help: 'Calls of the API server to a webhook, by outcome.',
      type: 'counter',
      read: () =>
        [...this.#counts.values()].map(({ webhook, outcome, count }) => ({
          labels: { webhook, outcome },
          value: count,
        })),
    });
    metrics.family({
      name: 'cellmesh_admission_duration_seconds',
      help: 'From the head of a call to its answer.',
      type: 'histogram',
      read: () => [...this.#durations].flatMap(([webhook, durations]) => durations.samples({ webhook })),
    });
    metrics.family({
      name: 'cellmesh_webhook_handshakes_failed_total',
      help: 'TLS handshakes at the webhook port that failed: who calls may not have our roots yet.',
      type: 'counter',
      read: () => [{ labels: {}, value: this.#handshakesFailed }],
    });
  }
}
