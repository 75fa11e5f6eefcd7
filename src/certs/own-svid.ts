import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { Authority } from './authority.ts';
import { verifyCsr } from './csr.ts';
import { obtainSvid, renewSvid, type SvidRequester } from './renew-svid.ts';
import type { SpiffeId } from './spiffe-id.ts';
import { type Svid, writeSvid } from './svid.ts';
import { bundlesOf, type TrustBundles } from './trust-bundle.ts';

interface OwnSvidOptions {
  readonly authority: Authority;
  readonly id: SpiffeId;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** An authority's own identity, from its own hand: issued and renewed in this process, by the rules that hold for everybody. */
export async function ownSvid({ authority, id, ...options }: OwnSvidOptions): Promise<WatchSource<Svid>> {
  const requester = requesterFor(authority, id);
  const bundles = (): TrustBundles => bundlesOf(authority.bundle.current);
  const svid = new WatchSource(
    await obtainSvid({ requester, bundles, clock: options.clock, signal: options.signal, expect: id }),
  );
  renewSvid({ requester, bundles, svid, ...options }).catch(() => {
    // Rejects with the signal's reason only: the process stops.
  });
  return svid;
}

/**
 * An SVID for somebody whom this process vouches for itself, the first administrator, kept in `directory` and renewed there for as long as
 * the process runs: a command that reads it finds one that is good. Disposed, nothing is written any more, and what was begun is done.
 */
export async function ownSvidOnDisk(
  directory: string,
  bundles: Watch<TrustBundles>,
  options: OwnSvidOptions,
): Promise<AsyncDisposable> {
  const svid = await ownSvid(options);
  let writing = writeSvid(directory, { svid: svid.current, bundles: bundles.current });
  await writing;
  // One write after the other: two at once could leave the older one as the current generation.
  const write = () => {
    writing = writing
      .then(() => writeSvid(directory, { svid: svid.current, bundles: bundles.current }))
      .catch((error: unknown) => options.logger.error('an SVID cannot be stored', { directory, error }));
  };
  const unsubscribes = [svid.subscribe(write), bundles.subscribe(write)];
  return {
    async [Symbol.asyncDispose]() {
      for (const unsubscribe of unsubscribes) unsubscribe();
      await writing;
    },
  };
}

function requesterFor(authority: Authority, id: SpiffeId): SvidRequester {
  return { requestSvid: async (csr) => authority.issue({ id, publicKey: verifyCsr(csr).publicKey }) };
}
