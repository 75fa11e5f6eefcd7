import type { Agent, Dispatcher } from 'undici';
import type { Clock } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';

/** What became of a batch. */
export type ExportOutcome =
  /** `rejected` of its spans were not to the collector's liking and must not come again. */
  | { readonly tag: 'taken'; readonly rejected: number; readonly reason: string }
  | { readonly tag: 'refused'; readonly reason: string }
  /** As the collector is now. `afterMs`: not before, where it says so. */
  | { readonly tag: 'unavailable'; readonly reason: string; readonly afterMs: number | undefined };

interface OtlpCollectorOptions {
  /** Of the signal: `http://127.0.0.1:4318/v1/traces`. */
  readonly url: URL;
  readonly clock: Clock;
}

/** The default of `OTEL_EXPORTER_OTLP_TIMEOUT`: for one request, from connecting to the end of the answer. */
const exportMsMax = 10_000;
/** OTLP, "Retryable Response Codes"; whatever else is no success is for good. */
const retryableStatuses: readonly number[] = [429, 502, 503, 504];
/** What is read of an answer: a message for people, and one number. */
const answerBytesMax = 16 * 1024;
const reasonCharsMax = 200;
const retryAfterMsMax = 300_000;

/** An OTLP/HTTP collector: one request at a time over one connection. */
export class OtlpCollector implements AsyncDisposable {
  readonly #options: OtlpCollectorOptions;
  readonly #agent: Agent;

  private constructor(options: OtlpCollectorOptions, agent: Agent) {
    this.#options = options;
    this.#agent = agent;
  }

  /** Loads the HTTP client, which a process that exports nothing does without. */
  static async open(options: OtlpCollectorOptions): Promise<OtlpCollector> {
    const undici = await import('undici');
    return new OtlpCollector(options, new undici.Agent({ connections: 1, pipelining: 1 }));
  }

  /** Sends one `ExportTraceServiceRequest` as JSON. Never rejects. */
  async export(body: string, signal: AbortSignal): Promise<ExportOutcome> {
    const { url, clock } = this.#options;
    const timeout = new AbortController();
    const timer = clock.schedule(exportMsMax, () => timeout.abort(new Error(`no answer in ${exportMsMax} ms`)));
    try {
      const response = await this.#agent.request({
        origin: url.origin,
        path: url.pathname,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'cellmesh' },
        body,
        signal: AbortSignal.any([signal, timeout.signal]),
      });
      const text = await textOf(response.body);
      return this.#outcomeOf(response, text);
    } catch (error) {
      return { tag: 'unavailable', reason: messageOf(error), afterMs: undefined };
    } finally {
      timer.cancel();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  #outcomeOf({ statusCode, headers }: Dispatcher.ResponseData, text: string): ExportOutcome {
    const said = text.slice(0, reasonCharsMax);
    const reason = `the collector answers ${statusCode}${said === '' ? '' : `: ${said}`}`;
    if (statusCode >= 200 && statusCode < 300) return { tag: 'taken', reason, rejected: rejectedOf(text) };
    if (!retryableStatuses.includes(statusCode)) return { tag: 'refused', reason };
    return { tag: 'unavailable', reason, afterMs: retryAfterMs(headers['retry-after'], this.#options.clock.now()) };
  }
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body) {
    pieces.push(piece);
    bytes += piece.length;
    // Leaving the loop closes the connection: who answers at such length is no collector.
    if (bytes > answerBytesMax) break;
  }
  return Buffer.concat(pieces).subarray(0, answerBytesMax).toString();
}

/** `ExportTraceServiceResponse`: how many spans it names as rejected. An answer that cannot be read names none. */
function rejectedOf(text: string): number {
  try {
    const { partialSuccess } = JSON.parse(text) as { partialSuccess?: { rejectedSpans?: string | number } };
    const rejected = Number(partialSuccess?.rejectedSpans ?? 0);
    return Number.isSafeInteger(rejected) && rejected > 0 ? rejected : 0;
  } catch {
    return 0;
  }
}

/** RFC 9110 10.2.3: seconds, or a date. */
function retryAfterMs(value: string | readonly string[] | undefined, nowMs: number): number | undefined {
  if (typeof value !== 'string') return undefined;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), retryAfterMsMax);
}
