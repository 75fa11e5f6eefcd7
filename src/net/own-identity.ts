import { obtainSvid, renewSvid, type SvidRequester } from '#certs/renew-svid.ts';
import { type SpiffeId, trustDomainOf } from '#certs/spiffe-id.ts';
import { readSvid, type StoredSvid, type Svid, writeSvid } from '#certs/svid.ts';
import { bundlesOf, newerBundle, type TrustBundles } from '#certs/trust-bundle.ts';
import { verifyChain } from '#certs/verify-svid.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import { type TlsIdentity, watchTlsIdentity } from './tls-identity.ts';

/** First pause after a join that failed; it doubles up to the longest, and each is drawn from zero up (full jitter). */
const joinPauseMsMin = 500;
const joinPauseMsMax = 10_000;

export interface OwnIdentityOptions {
  /** Where key, chain and bundles lie, 0600. */
  readonly directory: string;
  /** Who this sidecar is meant to be: an SVID on disk that names somebody else is refused. */
  readonly expect: SpiffeId;
  /** The bundles that the process was started with, for the first join. */
  readonly startBundles: TrustBundles;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

interface JoinOptions {
  readonly requester: SvidRequester;
  readonly signal: AbortSignal;
  /** Told why there is no SVID yet, once for every attempt; attempts repeat until one succeeds. */
  readonly onFailed: (error: Error) => void;
}

interface RenewOptions {
  readonly requester: SvidRequester;
  readonly signal: AbortSignal;
  readonly intervalMs?: number;
}

/**
 * Who this process is towards the mesh: an SVID and the bundles it trusts, together on disk, so that a restart needs nobody. What changes is
 * published as a whole `TlsIdentity`; connections follow it without being dropped.
 */
export class OwnIdentity {
  readonly #options: OwnIdentityOptions;
  readonly #svid: WatchSource<Svid>;
  readonly #bundles: WatchSource<TrustBundles>;
  /** Who this process is now; connections look here. */
  readonly tls: Watch<TlsIdentity>;
  #storing: Promise<void> = Promise.resolve();

  private constructor(options: OwnIdentityOptions, { svid, bundles }: StoredSvid) {
    this.#options = options;
    this.#svid = new WatchSource(svid);
    this.#bundles = new WatchSource(bundles);
    this.tls = watchTlsIdentity(this.#svid, this.#bundles).identity;
  }

  /** What a former run left, when it is still good; undefined when a join is needed. */
  static async fromDisk(options: OwnIdentityOptions): Promise<OwnIdentity | undefined> {
    try {
      const stored = await readSvid(options.directory, options.clock.now());
      if (stored.svid.id !== options.expect) {
        throw new CellmeshError(
          'svid_unreadable',
          `the SVID on disk is of ${stored.svid.id}, not of ${options.expect}`,
        );
      }
      const bundles = newestOf(stored.bundles, options.startBundles);
      verifyChain(stored.svid.chain, bundles, options.clock.now());
      return new OwnIdentity(options, { ...stored, bundles });
    } catch (error) {
      options.logger.info('no usable SVID on disk, joining', { reason: messageOf(error) });
      return undefined;
    }
  }

  /** Asks until the control plane answers; every failure is told. Rejects only when the signal is aborted. */
  static async join(options: OwnIdentityOptions, join: JoinOptions): Promise<OwnIdentity> {
    const { clock, random, expect, startBundles } = options;
    for (let attempt = 0; ; attempt++) {
      try {
        const svid = await obtainSvid({ ...join, bundles: () => startBundles, clock, expect });
        const identity = new OwnIdentity(options, { svid, bundles: startBundles });
        await identity.#store();
        return identity;
      } catch (error) {
        join.signal.throwIfAborted();
        join.onFailed(error instanceof Error ? error : new Error(String(error)));
        const pauseMs = Math.min(joinPauseMsMax, joinPauseMsMin * 2 ** Math.min(attempt, 10));
        await sleep(clock, pauseMs * random.fraction(), join.signal);
      }
    }
  }

  /** Renews until the signal is aborted. */
  renew(options: RenewOptions): Promise<void> {
    const { clock, random, logger } = this.#options;
    return renewSvid({
      ...options,
      svid: this.#svid,
      bundles: () => this.#bundles.current,
      store: (svid) => this.#store(svid),
      onUrgent: (renew) =>
        this.#bundles.subscribe((bundles) => void (isStandIn(this.#svid.current, bundles) && renew())),
      clock,
      random,
      logger,
    });
  }

  /** Whom to trust from now on. A bundle that is older than the one held, from a disk say, does not take its place. */
  setBundles(bundles: TrustBundles): void {
    const held = this.#bundles.current;
    this.#bundles.set(bundlesOf(...[...bundles.values()].map((one) => newerBundle(one, held.get(one.trustDomain)))));
    void this.#store().catch((error: unknown) => {
      this.#options.logger.error('the trust bundles could not be stored', { reason: messageOf(error) });
    });
  }

  /** Resolves when what was to be written is on disk. */
  async settled(): Promise<void> {
    await this.#storing.catch(() => {});
  }

  /** One write after the other: two at once could leave the older one as the current generation. */
  #store(svid = this.#svid.current): Promise<void> {
    const { directory } = this.#options;
    const next = this.#storing
      .catch(() => {})
      .then(() => writeSvid(directory, { svid, bundles: this.#bundles.current }));
    this.#storing = next;
    return next;
  }
}

/**
 * Whether the bundle trusts the very intermediate that signed an SVID, in place of its root: whoever had to replace that root at once wants all
 * below it to be renewed. An SVID that no bundle vouches for is renewed as well, should anybody still take it.
 */
function isStandIn({ id, chain }: Svid, bundles: TrustBundles): boolean {
  const roots = bundles.get(trustDomainOf(id))?.roots ?? [];
  const issuers = chain.slice(1);
  if (roots.some(({ der }) => issuers.some((issuer) => issuer.der.equals(der)))) return true;
  return !roots.some(({ subject }) => chain.some(({ issuer }) => issuer.equals(subject)));
}

/** A process that was off for a whole rotation of roots knows nobody who would tell it: what it is started with may be newer. */
function newestOf(stored: TrustBundles, given: TrustBundles): TrustBundles {
  const newest = [...given.values()].map((bundle) => newerBundle(bundle, stored.get(bundle.trustDomain)));
  return new Map([...stored, ...bundlesOf(...newest)]);
}
