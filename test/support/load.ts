import { setTimeout as delay } from 'node:timers/promises';

export interface LoadOptions {
  /** Requests begun a second, whatever becomes of those before: a server that hesitates is not spared. */
  readonly perSecond: number;
  /** For so long the rate grows from none to `perSecond`: processes that have just started run code that nothing has compiled yet. */
  readonly rampMs?: number;
  readonly send: () => Promise<{
    readonly status: number;
    readonly body: string;
    readonly decision?: string | undefined;
  }>;
}

/** What did not come back as it should. */
export interface LoadFailure {
  /** 0 when there was no answer. */
  readonly status: number;
  /** Of the answer or the error. */
  readonly text: string;
  /** Milliseconds since the load began, at the request's beginning. */
  readonly atMs: number;
}

export interface LoadReport {
  readonly sent: number;
  readonly succeeded: number;
  readonly failures: readonly LoadFailure[];
  /** Of requests that were answered, in milliseconds, at hundredths: `latencyMs(50)` is the median. */
  latencyMs(percent: number): number;
}

export interface Load extends AsyncDisposable {
  readonly report: LoadReport;
  /** Milliseconds since it began. */
  readonly nowMs: number;
  /** Resolves when `count` more requests have been answered, or have failed. */
  next(count: number): Promise<void>;
  /** Sends nothing more; resolves when everything that was sent has come back. */
  stop(): Promise<LoadReport>;
}

/** Often enough that requests are spread, seldom enough that waking costs nothing. */
const tickMs = 10;

/** An open loop: requests begin at their time, and each one's end is written down. A success is a 200. */
export function startLoad({ perSecond, rampMs = 0, send }: LoadOptions): Load {
  const began = performance.now();
  const failures: LoadFailure[] = [];
  const latencies: number[] = [];
  const underWay = new Set<Promise<void>>();
  const waiting = new Set<{ readonly at: number; readonly resolve: () => void }>();
  let sent = 0;
  let ended = 0;

  const one = async () => {
    const atMs = performance.now() - began;
    try {
      const { status, body, decision } = await send();
      if (status === 200) latencies.push(performance.now() - began - atMs);
      else failures.push({ status, text: `${decision ?? ''} ${body}`, atMs });
    } catch (error) {
      failures.push({ status: 0, text: String(error), atMs });
    }
    ended++;
    for (const waiter of waiting) {
      if (ended < waiter.at) continue;
      waiting.delete(waiter);
      waiter.resolve();
    }
  };
  const timer = setInterval(() => {
    const nowMs = performance.now() - began;
    const atFullRateMs = nowMs < rampMs ? nowMs ** 2 / (2 * rampMs) : nowMs - rampMs / 2;
    for (const due = (atFullRateMs / 1000) * perSecond; sent < due; sent++) {
      const request = one().finally(() => underWay.delete(request));
      underWay.add(request);
    }
  }, tickMs);

  const report: LoadReport = {
    get sent() {
      return sent;
    },
    get succeeded() {
      return latencies.length;
    },
    failures,
    latencyMs(percent) {
      const sorted = latencies.toSorted((a, b) => a - b);
      return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
    },
  };
  const stop = async () => {
    clearInterval(timer);
    while (underWay.size > 0) await Promise.race([Promise.all(underWay), delay(tickMs)]);
    return report;
  };
  return {
    report,
    get nowMs() {
      return performance.now() - began;
    },
    next: (count) => new Promise((resolve) => waiting.add({ at: ended + count, resolve })),
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}
