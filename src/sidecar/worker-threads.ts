import { createServer } from 'node:net';
import { Worker } from 'node:worker_threads';
import { serializeEndpoints } from '#net/endpoints.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { serializePolicySnapshot } from '#policy/snapshot.ts';
import type { Scheduled } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import type { MetricsSnapshot } from '#runtime/metrics.ts';
import { ThreadChannel } from '#runtime/thread-channel.ts';
import type { Watch } from '#runtime/watch.ts';
import { serializeKeySet } from '#tokens/key-set.ts';
import { listening } from '#wire/listen-plain.ts';
import type { ListenerSpec, OpenListener } from './listener-spec.ts';
import type { RequestThread, ThreadSummary } from './request-thread.ts';
import type { RequestThreadOptions } from './request-thread-options.ts';
import { identityMessage, type MainCalls, type WorkerCalls, type WorkerSetting } from './thread-calls.ts';

type Options = Omit<RequestThreadOptions, 'hasOthers'>;

interface OtherThread {
  readonly worker: Worker;
  readonly channel: ThreadChannel<WorkerCalls>;
}

/** Age of what is known is looked at so often; what it may be is hours. */
const staleEveryMs = 1_000;

/**
 * The threads beside the first one. They get the same state, listen at the same ports, among which the system spreads connections, and hand what they
 * decide to the first. A thread that dies takes the process with it, as the first would: a supervisor starts it again.
 */
export class WorkerThreads implements AsyncDisposable {
  readonly #options: Options;
  readonly #threads: readonly OtherThread[];
  readonly #stack = new AsyncDisposableStack();
  #ageTimer: Scheduled | undefined;
  #lastListener = 0;
  #isStopping = false;

  /** @throws CellmeshError `config_invalid` where the system does not spread connections */
  constructor(options: Options, count: number) {
    if (process.platform !== 'linux') {
      const reason = `only Linux spreads connections over threads, this is ${process.platform}`;
      throw new CellmeshError('config_invalid', `--workers must be 1 here: ${reason}`);
    }
    this.#options = options;
    this.#threads = Array.from({ length: count }, (_, index) => this.#start(index + 1));
    const { policy, keySet, endpoints } = options;
    this.#follow(policy, (current) => {
      if (current !== undefined) this.#tell('policy', serializePolicySnapshot(current.snapshot));
    });
    this.#follow(keySet, (current) => this.#tell('keys', serializeKeySet(current)));
    this.#follow(endpoints, (current) => this.#tell('endpoints', serializeEndpoints(current)));
    this.#watchAge(false);
  }

  /** Resolves when all threads are who this sidecar is. */
  async identify(identity: Watch<TlsIdentity>): Promise<void> {
    // Before anybody waits: what changes meanwhile comes after what is told now.
    this.#stack.defer(identity.subscribe((current) => this.#tell('identity', identityMessage(current))));
    await this.#all('identity', identityMessage(identity.current));
  }

  /**
   * Opens a port on `first` and on all others. Where several may listen nobody is told that a port is taken, so it is tried alone before.
   * @throws CellmeshError `port_taken`, `start_failed`, `listen_failed`
   */
  async listenWith(first: RequestThread, spec: ListenerSpec): Promise<OpenListener> {
    if (spec.port !== 0) await expectFree(spec);
    const own = await first.listen(spec);
    const id = ++this.#lastListener;
    const close = async (graceMs: number) => {
      await Promise.all([own.close(graceMs), this.#all('close', { id, graceMs })]);
    };
    try {
      await this.#all('listen', { id, spec: { ...spec, port: own.port } });
    } catch (error) {
      await close(0);
      throw error;
    }
    return { port: own.port, close, [Symbol.asyncDispose]: () => close(0) };
  }

  summaries(): Promise<readonly ThreadSummary[]> {
    return this.#all('summary', undefined);
  }

  metrics(): Promise<readonly MetricsSnapshot[]> {
    return this.#all('metrics', undefined);
  }

  async drainTunnels(): Promise<void> {
    await this.#all('drainTunnels', undefined);
  }

  leave(): void {
    this.#tell('leave', undefined);
  }

  async flushDecisions(): Promise<void> {
    await this.#all('flushDecisions', undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isStopping) return;
    this.#ageTimer?.cancel();
    await this.#stack.disposeAsync();
    await this.#all('stop', undefined).catch((error: unknown) => this.#log('a thread did not stop in order', error));
    // Everything of theirs is closed; what is ended now is their loops.
    this.#isStopping = true;
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #start(index: number): OtherThread {
    const { interception, spans, limits, budgetMemory } = this.#options;
    const { instance, cellId, trustDomain, globalTrustDomain, applicationHost, tracingRatio, locality } = this.#options;
    const setting: WorkerSetting = {
      ...{ instance, cellId, trustDomain, globalTrustDomain, applicationHost, tracingRatio, locality, limits },
      isIntercepting: interception !== undefined,
      makesSpans: spans !== undefined,
      budgetMemory,
    };
    const worker = new Worker(new URL('./worker-thread.ts', import.meta.url), {
      workerData: setting,
      name: `requests ${index}`,
    });
    const channel = new ThreadChannel<WorkerCalls>(worker, this.#answers(index));
    worker.on('error', (error) => {
      throw error;
    });
    worker.on('exit', (code) => {
      channel.close(new Error(`thread ${index} has ended`));
      if (!this.#isStopping) throw new Error(`thread ${index} ended by itself, with ${code}`);
    });
    return { worker, channel };
  }

  #answers(thread: number): MainCalls {
    const { decisions, spans, candidates, askForKey, logger } = this.#options;
    return {
      decisions({ lines, kinds }) {
        for (const [index, line] of lines.entries()) decisions.add(line, kinds[index]!);
      },
      span: (span) => spans?.add(span),
      candidates: (counts) => {
        for (const one of counts) candidates.add(one);
      },
      askForKey: async ({ iss, kid }) => await askForKey?.(iss, kid),
      log: ({ level, message, fields }) => logger[level](message, { thread, ...fields }),
    };
  }

  #follow<T>(watch: Watch<T>, tell: (current: T) => void): void {
    tell(watch.current);
    this.#stack.defer(watch.subscribe(tell));
  }

  #watchAge(wasStale: boolean): void {
    const { clock, isStale } = this.#options;
    this.#ageTimer = clock.schedule(staleEveryMs, () => {
      const now = isStale(clock.now());
      if (now !== wasStale) this.#tell('stale', now);
      this.#watchAge(now);
    });
  }

  #tell<N extends keyof WorkerCalls & string>(name: N, argument: Parameters<WorkerCalls[N]>[0]): void {
    this.#all(name, argument).catch((error: unknown) => this.#log(`a thread did not take new ${name}`, error));
  }

  #all<N extends keyof WorkerCalls & string>(
    name: N,
    argument: Parameters<WorkerCalls[N]>[0],
  ): Promise<Awaited<ReturnType<WorkerCalls[N]>>[]> {
    return Promise.all(this.#threads.map(({ channel }) => channel.call(name, argument)));
  }

  #log(message: string, error: unknown): void {
    if (!this.#isStopping) this.#options.logger.error(message, { reason: messageOf(error) });
  }
}

/** @throws CellmeshError `port_taken`, `start_failed` */
async function expectFree({ host, port }: ListenerSpec): Promise<void> {
  const server = createServer();
  await listening(server, { host, port });
  await new Promise((resolve) => server.close(resolve));
}
