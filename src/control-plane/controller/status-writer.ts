import { isDeepStrictEqual } from 'node:util';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { valueAt } from '#kubernetes/json.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { cells, type PolicyObject, servicePolicies, titleOf } from '#kubernetes/resources-policy.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Outcomes } from './cluster-policy-source.ts';
import type { Leadership } from './leadership.ts';
import { cellStatus, policyStatus } from './object-status.ts';
import { progressOf, type ReplicaReport } from './replica-report.ts';

interface StatusWriterOptions {
  readonly client: Pick<KubernetesClient, 'apply'>;
  readonly leadership: Pick<Leadership, 'term' | 'subscribe'>;
  readonly outcomes: Watch<Outcomes>;
  /** Of all replicas; undefined while they are not known. */
  readonly reports: () => readonly ReplicaReport[] | undefined;
  /** How many pods are of a service, by namespace and service account; undefined while they are not known. */
  readonly podsOf: (namespace: string, serviceAccount: string) => number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

const fieldManager = 'cellmesh-control-plane';
/** Acknowledgements come in swarms. */
const writeAfterMs = 500;
const retryAfterMs = 5_000;
/** A thousand objects are written in some seconds, and others get answers too. */
const atOnceMax = 8;

/** Says in the status of each object what became of it: only the replica that leads, and only what is not said already. */
export class StatusWriter implements AsyncDisposable {
  readonly #options: StatusWriterOptions;
  readonly #stack = new DisposableStack();
  /** By uid: as the API server answered last, which the informer may not have told yet. */
  readonly #answered = new Map<string, PolicyObject>();
  #timer: Scheduled | undefined;
  #writing: Promise<void> | undefined;
  #isAgain = false;
  #isClosed = false;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    this.#stack.defer(options.outcomes.subscribe(() => this.changed()));
    this.#stack.defer(options.leadership.subscribe(() => this.changed()));
    this.changed();
  }

  /** There may be something else to say. */
  changed(): void {
    this.#writeIn(writeAfterMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#stack.dispose();
    this.#timer?.cancel();
    await this.#writing;
  }

  #writeIn(delayMs: number): void {
    if (this.#isClosed) return;
    if (this.#writing !== undefined) this.#isAgain = true;
    else this.#timer ??= this.#options.clock.schedule(delayMs, () => this.#write());
  }

  #write(): void {
    this.#timer = undefined;
    this.#writing = this.#writeAll().then((delayMs) => {
      this.#writing = undefined;
      if (delayMs !== undefined) this.#writeIn(delayMs);
    });
  }

  /** Returns when to go on; undefined: when something changes. */
  async #writeAll(): Promise<number | undefined> {
    this.#isAgain = false;
    const signal = this.#options.leadership.term;
    if (signal === undefined) {
      this.#answered.clear();
      return undefined;
    }
    const due = this.#due();
    let failures = 0;
    const work = due[Symbol.iterator]();
    const worker = async () => {
      for (const [object, status] of work) {
        if (signal.aborted || this.#isClosed) return;
        if (!(await this.#apply(object, status, signal))) failures++;
      }
    };
    await Promise.all(Array.from({ length: Math.min(atOnceMax, due.length) }, worker));
    if (failures > 0) return retryAfterMs;
    return this.#isAgain ? writeAfterMs : undefined;
  }

  /** Objects whose status says something else than it should, and what it should say. */
  #due(): readonly (readonly [PolicyObject, object])[] {
    const { outcomes, reports, podsOf, clock } = this.#options;
    const { version: policyVersion, cells: ofCells, policies } = outcomes.current;
    const known = reports();
    const wanted: [PolicyObject, object][] = [];
    const inForce = policies.filter((one) => one.inForce !== undefined).length;
    for (const one of ofCells) {
      const outcome = { ...one, object: this.#freshest(one.object) };
      wanted.push([outcome.object, cellStatus({ outcome, policyVersion, nowMs: clock.now() }, inForce)]);
    }
    // Without a cell nothing can be said of policies.
    for (const one of policyVersion === '' ? [] : policies) {
      const outcome = { ...one, object: this.#freshest(one.object) };
      const { object } = outcome;
      const serviceAccount = valueAt(outcome.inForce?.spec ?? object.spec, 'serviceAccount');
      const pods = typeof serviceAccount === 'string' ? podsOf(object.namespace!, serviceAccount) : 0;
      if (pods === undefined || known === undefined) continue;
      const { subscribers, programmed } = progressOf(known, object.uid, object.generation);
      const counts = { total: Math.max(pods, subscribers), programmed };
      wanted.push([object, policyStatus({ outcome, policyVersion, nowMs: clock.now() }, counts)]);
    }
    this.#forget(wanted.map(([{ uid }]) => uid));
    return wanted.filter(([object, status]) => !isDeepStrictEqual(ours(object.status.written), status));
  }

  async #apply(object: PolicyObject, status: object, signal: AbortSignal): Promise<boolean> {
    const { client, logger } = this.#options;
    const { kind, name, namespace, uid } = object;
    const resource = kind === 'Cell' ? cells : servicePolicies;
    const metadata = { name, uid, ...(namespace !== undefined && { namespace }) };
    const options = { fieldManager, force: true, subresource: 'status' } as const;
    try {
      this.#answered.set(uid, await client.apply(resource, metadata, { status }, options, signal));
      return true;
    } catch (error) {
      const isGone = error instanceof KubernetesError && (error.isNotFound || error.isConflict);
      if (isGone || signal.aborted) return true;
      logger.warn('the status of an object is not written', { object: titleOf(object), error });
      return false;
    }
  }

  /** Of two states of an object the later one; not that of another object of the name, or of another generation than is ruled on. */
  #freshest(object: PolicyObject): PolicyObject {
    const answered = this.#answered.get(object.uid);
    if (answered === undefined || answered.generation !== object.generation) return object;
    return BigInt(answered.resourceVersion) > BigInt(object.resourceVersion) ? answered : object;
  }

  #forget(present: readonly string[]): void {
    const uids = new Set(present);
    for (const uid of this.#answered.keys()) if (!uids.has(uid)) this.#answered.delete(uid);
  }
}

/** A status without what others write into it. */
function ours(written: unknown): unknown {
  if (typeof written !== 'object' || written === null) return written;
  const { withdrawn: _, ...rest } = written as Record<string, unknown>;
  return rest;
}
