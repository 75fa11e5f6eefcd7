import type { KubernetesClient } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { type Lease, leases } from '#kubernetes/resources-lease.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';

interface LeadershipOptions {
  readonly client: Pick<KubernetesClient, 'get' | 'list' | 'watch' | 'create' | 'replace'>;
  readonly namespace: string;
  /** Who this is: no two replicas that run have one name. */
  readonly replica: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const leaseName = 'cellmesh-control-plane';
/** As client-go has them: others wait for the first, the holder gives up after the second, and tries each third. */
const leaseMs = 15_000;
const renewalMsMax = 10_000;
const renewEveryMs = 2_000;
/** A process that stops has better things to do than to wait for an API server. */
const releaseMsMax = 5_000;

/**
 * Whether this replica is the one that may do what only one may: it holds a Lease and renews it. Who does not hold it watches it, so that one that
 * was released is taken at once; one that was not is taken when it has not changed for its whole time, by our own monotonic clock, since no two
 * clocks tell the same time. The holder stops five seconds before that. `term` ends with it: what is under way must not outlast it.
 */
export class Leadership implements Watch<boolean>, AsyncDisposable {
  readonly #options: LeadershipOptions;
  readonly #isLeading = new WatchSource(false);
  readonly #informer: Informer<Lease>;
  readonly #abort = new AbortController();
  #term: AbortController | undefined;
  /** As it was last seen; and, by the monotonic clock, since when it is so. */
  #seen: Lease | undefined;
  #seenAt = 0;
  /** When the last renewal that succeeded was begun. */
  #renewedAt = 0;
  #next: Scheduled | undefined;
  #end: Scheduled | undefined;
  #attempt: Promise<void> | undefined;

  /** Begins at once. */
  constructor(options: LeadershipOptions) {
    this.#options = options;
    const { namespace } = options;
    this.#informer = new Informer({
      ...options,
      resource: leases,
      selection: { namespace, fieldSelector: `metadata.name=${leaseName}` },
      keyOf: ({ name }) => name,
      onChange: (now) => this.#onChange(now),
    });
    // What there is now is told by the informer; this is for when there is nothing, or no informer.
    this.#tryIn(renewEveryMs / 4);
  }

  get current(): boolean {
    return this.#isLeading.current;
  }

  /** While this replica leads: aborted when it does not any more. */
  get term(): AbortSignal | undefined {
    return this.#term?.signal;
  }

  subscribe(listener: (isLeading: boolean) => void): () => void {
    return this.#isLeading.subscribe(listener);
  }

  /** Releases the Lease, so that another may begin at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    const wasLeading = this.current;
    this.#resign('the process stops');
    this.#abort.abort(new Error('the process stops'));
    this.#next?.cancel();
    await this.#informer[Symbol.asyncDispose]();
    await this.#attempt;
    this.#next?.cancel();
    if (wasLeading) await this.#release().catch((error: unknown) => this.#failed(error));
  }

  #onChange(now: Lease | undefined): void {
    this.#see(now);
    if (now === undefined || now.holder === '') this.#try();
  }

  #see(now: Lease | undefined): void {
    const { clock, replica } = this.#options;
    if (!isNews(now, this.#seen)) return;
    this.#seen = now;
    this.#seenAt = clock.monotonic();
    if (this.current) {
      // Somebody has taken it from us, whatever for; an older state of our own is told late.
      if (now !== undefined && now.holder !== replica) this.#resign(`${now.holder || 'nobody'} holds the Lease`);
    } else this.#tryIn(this.#untilFreeMs());
  }

  #tryIn(delayMs: number): void {
    this.#next?.cancel();
    if (this.#abort.signal.aborted) return;
    this.#next = this.#options.clock.schedule(delayMs, () => this.#try());
  }

  #try(): void {
    if (this.#attempt !== undefined || this.#abort.signal.aborted) return;
    this.#attempt = this.#tryNow().finally(() => {
      this.#attempt = undefined;
    });
  }

  async #tryNow(): Promise<void> {
    const begun = this.#options.clock.monotonic();
    const isHeld = await (this.current ? this.#renew() : this.#take()).catch((error: unknown) => this.#failed(error));
    if (this.#abort.signal.aborted) {
      // It was taken while the process stopped.
      if (isHeld === true && !this.current) await this.#release().catch((error: unknown) => this.#failed(error));
      return;
    }
    if (isHeld === true) this.#hold(begun);
    this.#tryIn(this.current || isHeld === undefined ? renewEveryMs : this.#untilFreeMs());
  }

  /** With some more, so that not all try at once. */
  #untilFreeMs(): number {
    const { clock, random } = this.#options;
    const durationMs = this.#seen?.durationMs ?? renewEveryMs;
    return this.#seenAt + durationMs * (1 + random.fraction() / 10) - clock.monotonic();
  }

  /** Undefined: nobody knows. */
  #failed(error: unknown): undefined {
    const isLost = error instanceof KubernetesError && error.isConflict;
    if (!isLost && !this.#abort.signal.aborted)
      this.#options.logger.warn('the Lease of the control plane is not told', { error, isLeading: this.current });
  }

  #hold(begun: number): void {
    const { clock, logger, replica } = this.#options;
    // An answer that comes too late gives nothing: others may have begun.
    if (clock.monotonic() - begun >= renewalMsMax) return;
    this.#renewedAt = begun;
    this.#end?.cancel();
    const leftMs = this.#renewedAt + renewalMsMax - clock.monotonic();
    this.#end = clock.schedule(leftMs, () => this.#resign('the Lease was not renewed in time'));
    if (this.current) return;
    this.#term = new AbortController();
    logger.info('this replica leads', { replica });
    this.#isLeading.set(true);
  }

  #resign(reason: string): void {
    this.#end?.cancel();
    if (!this.current) return;
    this.#options.logger.warn('this replica leads no more', { reason });
    this.#term?.abort(new CellmeshError('kubernetes_unavailable', `this replica leads no more: ${reason}`));
    this.#term = undefined;
    this.#isLeading.set(false);
    this.#tryIn(leaseMs);
  }

  /** Takes it if it is nobody's; false when it is somebody's. */
  async #take(): Promise<boolean> {
    const { clock, replica } = this.#options;
    const found = await this.#get();
    this.#see(found);
    if (found === undefined) {
      this.#see(await this.#write(undefined, { acquireTime: this.#time(), leaseTransitions: 0 }));
      return true;
    }
    const isOver = found.holder === '' || clock.monotonic() - this.#seenAt >= found.durationMs;
    // One that has our name is of this replica before it was started anew: nobody else is called so.
    if (!isOver && found.holder !== replica) return false;
    const leaseTransitions = found.transitions + (found.holder === replica ? 0 : 1);
    this.#see(await this.#write(found, { acquireTime: this.#time(), leaseTransitions }));
    return true;
  }

  async #renew(): Promise<boolean> {
    const seen = this.#seen ?? (await this.#get());
    const facts = { acquireTime: seen?.acquireTime ?? this.#time(), leaseTransitions: seen?.transitions ?? 0 };
    try {
      this.#see(await this.#write(seen, facts));
      return true;
    } catch (error) {
      const isOther = error instanceof KubernetesError && (error.isConflict || error.isNotFound);
      if (!isOther || this.#abort.signal.aborted) throw error;
      // Ours by a write whose answer was lost, or somebody else's: `see` resigns then. The next attempt is at hand.
      this.#see(await this.#get());
      return false;
    }
  }

  async #release(): Promise<void> {
    const signal = AbortSignal.timeout(releaseMsMax);
    // Not as it was last seen: a renewal whose answer was not awaited may have come through.
    const found = await this.#get(signal);
    if (found === undefined || found.holder !== this.#options.replica) return;
    const facts = { acquireTime: found.acquireTime, leaseTransitions: found.transitions };
    await this.#write(found, { ...facts, holderIdentity: '', leaseDurationSeconds: 1 }, signal);
  }

  async #get(signal = this.#abort.signal): Promise<Lease | undefined> {
    const { client, namespace } = this.#options;
    try {
      return await client.get(leases, { namespace, name: leaseName }, signal);
    } catch (error) {
      if (error instanceof KubernetesError && error.isNotFound) return undefined;
      throw error;
    }
  }

  #write(found: Lease | undefined, facts: object, signal = this.#abort.signal): Promise<Lease> {
    const { client, namespace, replica } = this.#options;
    const spec = {
      ...{ holderIdentity: replica, leaseDurationSeconds: leaseMs / 1000, renewTime: this.#time() },
      ...facts,
    };
    const name = { namespace, name: leaseName };
    if (found === undefined) return client.create(leases, name, { spec }, signal);
    return client.replace(leases, { ...name, resourceVersion: found.resourceVersion }, { spec }, signal);
  }

  /** `MicroTime`: the API server takes six digits, no fewer. */
  #time(): string {
    return new Date(this.#options.clock.now()).toISOString().replace('Z', '000Z');
  }
}

/** What is told late is no news: resource versions of one kind are numbers that rise. */
function isNews(now: Lease | undefined, seen: Lease | undefined): boolean {
  if (now === undefined || seen === undefined) return now !== seen;
  return BigInt(now.resourceVersion) > BigInt(seen.resourceVersion);
}
