import type { ApiClient } from '#api/api-client.ts';
import { IdentityCells } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';

interface BundleAnnouncerOptions {
  readonly client: ApiClient;
  readonly bundle: Watch<TrustBundle>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** All cells of an identity that comes back must not come at once; the pause doubles up to the longest. */
const pauseMsMin = 500;
const pauseMsMax = 30_000;

/** Tells identity the roots of this cell, and each time they change: routers know the cell by them. Tries until they are taken. */
export class BundleAnnouncer implements AsyncDisposable {
  readonly #options: BundleAnnouncerOptions;
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;
  readonly #unsubscribe: () => void;
  #taken: TrustBundle | undefined;
  #wake = () => {};

  constructor(options: BundleAnnouncerOptions) {
    this.#options = options;
    this.#unsubscribe = options.bundle.subscribe(() => this.#wake());
    this.#running = this.#run();
  }

  /** Whether identity has the bundle that is in force. */
  get isTaken(): boolean {
    return this.#taken === this.#options.bundle.current;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    this.#abort.abort(new Error('the control plane stops'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { random } = this.#options;
    for (let failures = 0; !this.#abort.signal.aborted; ) {
      const isTaken = this.isTaken || (await this.#announce());
      failures = isTaken ? 0 : failures + 1;
      const pauseMs = random.fraction() * Math.min(pauseMsMax, pauseMsMin * 2 ** Math.min(failures, 10));
      await this.#pause(isTaken ? Number.POSITIVE_INFINITY : pauseMs);
    }
  }

  async #announce(): Promise<boolean> {
    const { client, bundle, logger } = this.#options;
    const announced = bundle.current;
    try {
      const request = { trustBundle: serializeTrustBundle(announced) };
      await client.call(IdentityCells.method.publishBundle, request, this.#abort.signal);
      this.#taken = announced;
      return this.isTaken;
    } catch (error) {
      if (!this.#abort.signal.aborted)
        logger.warn('identity has not taken the roots of this cell yet', { reason: messageOf(error) });
      return false;
    }
  }

  /** Until the time is over, or the bundle is another. */
  async #pause(pauseMs: number): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    if (pauseMs === Number.POSITIVE_INFINITY && !this.isTaken) return;
    const signal = AbortSignal.any([woken.signal, this.#abort.signal]);
    const ended =
      pauseMs === Number.POSITIVE_INFINITY ? untilAborted(signal) : sleep(this.#options.clock, pauseMs, signal);
    await ended.catch(() => {});
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
