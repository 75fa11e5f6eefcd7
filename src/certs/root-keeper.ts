import type { Clock, Scheduled } from '#runtime/clock.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { Certificate } from './certificate.ts';
import { type IntermediateSource, signIntermediate } from './intermediate.ts';
import { type RootHolder, type RootsStatus, refuseExpired, remedyOf, statusOf } from './root-holder.ts';
import {
  activate,
  beginsAt,
  type Listener,
  nextRoot,
  nextStep,
  prepare,
  publish,
  type RotationRules,
  retire,
} from './root-rotation.ts';
import { localSigner } from './root-signer-file.ts';
import type { LoadedRoots, RootStore } from './root-store.ts';
import { activeRoot, bundleOf, createRoot, intermediatesMax, type Roots, singleRoot } from './roots.ts';
import type { TrustDomain } from './spiffe-id.ts';
import type { TrustBundle } from './trust-bundle.ts';

interface RootKeeperOptions {
  readonly store: RootStore;
  readonly trustDomain: TrustDomain;
  readonly rules: RotationRules;
  readonly rootLifetimeMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Looked at this often for what is to be done, or a hundredth of an SVID's lifetime where that is shorter; drills have SVIDs of seconds. */
const lookMsMax = 60_000;
const lookMsMin = 100;
const urgentLookMs = 500;
/** While no rotation is under way. */
const restMsMax = 3600_000;
/** Each means that somebody else has saved. */
const conflictsMax = 20;

/**
 * Keeps the roots of a trust domain in a store and rotates them. Every change is stored before anybody sees it, so a process that ends
 * between two phases goes on where it was.
 */
export class RootKeeper implements RootHolder {
  readonly #options: RootKeeperOptions;
  readonly #bundle: WatchSource<TrustBundle>;
  #loaded: LoadedRoots;
  #listeners: () => readonly Listener[] = () => [];
  #timer: Scheduled | undefined;
  #changing: Promise<void> = Promise.resolve();
  #isFollowing = false;

  /**
   * Takes the roots up; the first start makes one. Processes that start at once end up with the same.
   * @throws CellmeshError `root_expired`, `roots_invalid`, or what the store throws
   */
  static async open(options: RootKeeperOptions): Promise<RootKeeper> {
    const keeper = new RootKeeper(options, await openRoots(options));
    // A cell that was off may come back with a root that has ended, and the next one already known.
    const { certificate } = activeRoot(keeper.#roots);
    if (options.clock.now() > certificate.notAfter) {
      if (nextRoot(keeper.#roots)?.phase === 'published') await keeper.#step();
      refuseExpired(activeRoot(keeper.#roots).certificate, options, remedyOf(options.store));
    }
    return keeper;
  }

  private constructor(options: RootKeeperOptions, loaded: LoadedRoots) {
    this.#options = options;
    this.#loaded = loaded;
    this.#bundle = new WatchSource(bundleOf(loaded.roots));
  }

  get bundle(): Watch<TrustBundle> {
    return this.#bundle;
  }

  get intermediates(): IntermediateSource {
    return { requestIntermediate: (csr) => this.#sign(csr) };
  }

  status(): RootsStatus {
    const { clock, rules } = this.#options;
    const step = nextStep(this.#roots, clock.now(), rules, this.#listeners());
    return {
      sequence: this.#roots.sequence,
      roots: this.#roots.roots.map(({ phase, since, until, certificate }) => ({
        ...statusOf(certificate, phase),
        since,
        until,
      })),
      waits: step.kind === 'wait' ? { for: step.for, until: step.until } : undefined,
      beginsAt: nextRoot(this.#roots) === undefined ? beginsAt(this.#roots, rules) : undefined,
    };
  }

  async rotate(isUrgent: boolean): Promise<void> {
    await this.#exclusively(async () => {
      if (nextRoot(this.#roots) === undefined) await this.#prepare(isUrgent);
      else if (isUrgent) await this.#change((roots) => ({ ...roots, isUrgent }));
      while (await this.#step());
    });
    if (this.#isFollowing) this.#schedule();
  }

  follow(listeners: () => readonly Listener[]): void {
    this.#listeners = listeners;
    this.#isFollowing = true;
    this.#look();
  }

  [Symbol.dispose](): void {
    this.#isFollowing = false;
    this.#timer?.cancel();
  }

  get #roots(): Roots {
    return this.#loaded.roots;
  }

  #look(): void {
    const { logger } = this.#options;
    const onFailed = (error: unknown) =>
      logger.error('a root could not be rotated; it is tried again', { reason: messageOf(error) });
    void this.#exclusively(async () => void (await this.#step()))
      .catch(onFailed)
      .finally(() => this.#schedule());
  }

  #schedule(): void {
    if (!this.#isFollowing) return;
    const { clock, rules } = this.#options;
    const isResting = this.#roots.roots.length === 1;
    const longestMs = this.#roots.isUrgent ? urgentLookMs : lookMsMax;
    const shortMs = Math.min(longestMs, Math.max(lookMsMin, rules.svidLifetimeMs / 100));
    const restMs = Math.max(shortMs, Math.min(restMsMax, beginsAt(this.#roots, rules) - clock.now()));
    this.#timer?.cancel();
    this.#timer = clock.schedule(isResting ? restMs : shortMs, () => this.#look());
  }

  /** Does what is due now. @returns whether something was */
  async #step(): Promise<boolean> {
    const { clock, rules, logger } = this.#options;
    const step = nextStep(this.#roots, clock.now(), rules, this.#listeners());
    switch (step.kind) {
      case 'rest':
      case 'wait':
        return false;
      case 'prepare':
        await this.#prepare(false);
        return true;
      case 'publish':
        await this.#change((roots) => publish(roots, clock.now()));
        break;
      case 'activate':
        if (step.without.length > 0) logger.warn('a new root signs, and not everybody has heard of it', step);
        await this.#change((roots) => activate(roots, clock.now(), rules));
        break;
      case 'retire':
        await this.#change((roots) => retire(roots, clock.now()));
        break;
      default:
        return step satisfies never;
    }
    logger.info('roots changed', { step: step.kind, sequence: this.#roots.sequence });
    return true;
  }

  async #prepare(isUrgent: boolean): Promise<void> {
    const { rootLifetimeMs, ...options } = this.#options;
    const root = await createRoot({ ...options, ...(rootLifetimeMs && { lifetimeMs: rootLifetimeMs }) }, 'prepared');
    await this.#change((roots) => ({ ...prepare(roots, root), isUrgent }));
  }

  /** Stored first, then seen. */
  async #change(next: (roots: Roots) => Roots): Promise<void> {
    const { store, trustDomain } = this.#options;
    try {
      const roots = next(this.#roots);
      this.#take({ roots, version: await store.save(roots, this.#loaded.version) });
    } catch (error) {
      if (!isCellmeshError(error, 'conflict')) throw error;
      const loaded = await store.load();
      if (loaded === undefined) throw new CellmeshError('roots_invalid', `the roots of ${trustDomain} are gone`);
      this.#take(loaded);
      throw error;
    }
  }

  #take(loaded: LoadedRoots): void {
    this.#loaded = loaded;
    const { sequence } = loaded.roots;
    if (sequence !== this.#bundle.current.sequence) this.#bundle.set(bundleOf(loaded.roots));
  }

  /** What is signed is written down: should the root have to be replaced at once, these stand in its place. */
  #sign(csr: Buffer): Promise<Uint8Array> {
    return this.#exclusively(async () => {
      for (let conflicts = 0; ; conflicts++) {
        const { privateKey, certificate } = activeRoot(this.#roots);
        const signed = await signIntermediate(localSigner(privateKey!, certificate), csr, this.#options);
        try {
          await this.#change((roots) => withIntermediate(roots, signed, this.#options.clock.now()));
          return signed.der;
        } catch (error) {
          if (!isCellmeshError(error, 'conflict') || conflicts === conflictsMax) throw error;
        }
      }
    });
  }

  /** One change after the other: each begins with what the one before has stored. */
  #exclusively<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(change);
    this.#changing = done.then(
      () => {},
      () => {},
    );
    return done;
  }
}

function withIntermediate(roots: Roots, signed: Certificate, now: number): Roots {
  const changed = roots.roots.map((root) => {
    if (root.phase !== 'active') return root;
    const alive = root.intermediates.filter(({ notAfter }) => notAfter > now);
    return { ...root, intermediates: [...alive, signed].slice(-intermediatesMax) };
  });
  return { ...roots, roots: changed };
}

/** The roots that are there; the first to ask makes one. @throws CellmeshError, as the store */
export async function openRoots(
  options: Pick<RootKeeperOptions, 'store' | 'trustDomain' | 'clock' | 'random' | 'rootLifetimeMs'>,
): Promise<LoadedRoots> {
  const { store, trustDomain, rootLifetimeMs } = options;
  for (let conflicts = 0; ; conflicts++) {
    const found = await store.load();
    if (found !== undefined) return found;
    const lifetime = rootLifetimeMs === undefined ? {} : { lifetimeMs: rootLifetimeMs };
    const roots = singleRoot(trustDomain, await createRoot({ ...options, ...lifetime }, 'active'));
    try {
      return { roots, version: await store.save(roots, undefined) };
    } catch (error) {
      if (!isCellmeshError(error, 'conflict') || conflicts === conflictsMax) throw error;
    }
  }
}
