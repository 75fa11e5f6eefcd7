import { parentPort, workerData } from 'node:worker_threads';
import { parseCertificatesPem } from '#certs/certificate.ts';
import { svidOf } from '#certs/svid.ts';
import { parseTrustBundles } from '#certs/trust-bundle-map.ts';
import { verifyChain } from '#certs/verify-svid.ts';
import { type EndpointsByService, parseEndpoints } from '#net/endpoints.ts';
import { openOriginalDestination } from '#net/original-destination.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import { parsePolicySnapshot } from '#policy/snapshot.ts';
import { systemClock as clock } from '#runtime/clock.ts';
import { leaveRoomForReads } from '#runtime/heap.ts';
import { type LogFields, type Logger, type LogLevel, plainFields } from '#runtime/logger.ts';
import { Metrics } from '#runtime/metrics.ts';
import { systemRandom as random } from '#runtime/random.ts';
import { ThreadChannel } from '#runtime/thread-channel.ts';
import { WatchSource } from '#runtime/watch.ts';
import { KeySet, parseKeySet } from '#tokens/key-set.ts';
import { type ActivePolicy, activePolicy } from './active-policy.ts';
import { CandidateTally } from './candidate-tally.ts';
import type { OpenListener } from './listener-spec.ts';
import { RequestThread } from './request-thread.ts';
import type { IdentityMessage, MainCalls, WorkerCalls, WorkerSetting } from './thread-calls.ts';
import { WorkerDecisions } from './worker-decisions.ts';

/** The first thread tells the control plane as often. */
const candidatesEveryMs = 1_000;

/** A thread beside the first one of a sidecar: serves requests by what it is told. */
class WorkerThread {
  readonly #policy = new WatchSource<ActivePolicy | undefined>(undefined);
  readonly #keySet = new WatchSource<KeySet>(KeySet.empty);
  readonly #endpoints = new WatchSource<EndpointsByService>(new Map());
  readonly #metrics = new Metrics();
  readonly #listeners = new Map<number, OpenListener>();
  readonly #main: ThreadChannel<MainCalls>;
  readonly #decisions: WorkerDecisions;
  readonly #candidates = new CandidateTally();
  readonly #thread: Promise<RequestThread>;
  #identity: WatchSource<TlsIdentity> | undefined;
  #isStale = false;
  #isLeaving = false;

  constructor(setting: WorkerSetting) {
    this.#main = new ThreadChannel(parentPort!, this.#answers());
    this.#decisions = new WorkerDecisions({ clock, send: (batch) => this.#main.call('decisions', batch) });
    this.#thread = this.#open(setting);
    this.#tellOfCandidates();
  }

  async #open({ isIntercepting, makesSpans, ...setting }: WorkerSetting): Promise<RequestThread> {
    return new RequestThread({
      ...setting,
      ...{ clock, random, policy: this.#policy, keySet: this.#keySet, endpoints: this.#endpoints },
      ...{ metrics: this.#metrics, decisions: this.#decisions, candidates: this.#candidates, hasOthers: true },
      logger: loggerOf((line) => this.#main.call('log', line)),
      interception: isIntercepting ? { port: 0, destinationOf: await openOriginalDestination() } : undefined,
      isStale: () => this.#isStale,
      isLeaving: () => this.#isLeaving,
      askForKey: (iss, kid) => this.#main.call('askForKey', { iss, kid }),
      spans: makesSpans ? { add: (span) => void this.#main.call('span', span).catch(() => {}) } : undefined,
    });
  }

  #tellOfCandidates(): void {
    clock.schedule(candidatesEveryMs, () => {
      void this.#handOverCandidates().catch(() => {});
      this.#tellOfCandidates();
    });
  }

  async #handOverCandidates(): Promise<void> {
    const counts = this.#candidates.take();
    if (counts.length > 0) await this.#main.call('candidates', counts);
  }

  #answers(): WorkerCalls {
    return {
      policy: (document) => this.#policy.set(activePolicy(parsePolicySnapshot(document))),
      keys: (document) => this.#keySet.set(parseKeySet(document)),
      endpoints: (document) => this.#endpoints.set(parseEndpoints(document)),
      stale: (isStale) => {
        this.#isStale = isStale;
      },
      leave: () => {
        this.#isLeaving = true;
      },
      identity: (message) => this.#identify(message),
      listen: async ({ id, spec }) => void this.#listeners.set(id, await (await this.#thread).listen(spec)),
      close: async ({ id, graceMs }) => {
        const listener = this.#listeners.get(id);
        this.#listeners.delete(id);
        await listener?.close(graceMs);
      },
      drainTunnels: async () => (await this.#thread).drainTunnels(),
      summary: async () => (await this.#thread).summary,
      metrics: () => this.#metrics.snapshot(),
      flushDecisions: () => this.#decisions.flush(),
      stop: async () => {
        await (await this.#thread)[Symbol.asyncDispose]();
        await this.#decisions.flush();
        await this.#handOverCandidates();
      },
    };
  }

  /** Held against the same rules as in every process: what is expired or signed by nobody known is no identity. */
  async #identify({ chain, privateKey, bundles: document }: IdentityMessage): Promise<void> {
    const bundles = parseTrustBundles(document);
    const svid = svidOf(verifyChain(parseCertificatesPem(chain), bundles, clock.now()), privateKey);
    const current = Object.freeze({ svid, bundles });
    if (this.#identity !== undefined) return this.#identity.set(current);
    this.#identity = new WatchSource<TlsIdentity>(current);
    (await this.#thread).identify(this.#identity);
  }
}

function loggerOf(send: MainCalls['log'], fixed: LogFields = {}): Logger {
  const log = (level: LogLevel) => (message: string, fields?: LogFields) => {
    send({ level, message, fields: plainFields({ ...fixed, ...fields }) });
  };
  return {
    debug: log('debug'),
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
    with: (fields) => loggerOf(send, { ...fixed, ...fields }),
  };
}

leaveRoomForReads();
new WorkerThread(workerData as WorkerSetting);
