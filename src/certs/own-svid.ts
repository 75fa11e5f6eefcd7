import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { WatchSource } from '#runtime/watch.ts';
import type { Authority } from './authority.ts';
import { verifyCsr } from './csr.ts';
import { obtainSvid, renewSvid, type SvidRequester } from './renew-svid.ts';
import type { SpiffeId } from './spiffe-id.ts';
import type { Svid } from './svid.ts';
import { bundlesOf, type TrustBundles } from './trust-bundle.ts';

export interface OwnSvidOptions {
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

/** An SVID for somebody whom this process vouches for itself: the first administrator. */
export function issueDirectly(
  authority: Authority,
  id: SpiffeId,
  { clock, signal }: Pick<OwnSvidOptions, 'clock' | 'signal'>,
): Promise<Svid> {
  return obtainSvid({
    requester: requesterFor(authority, id),
    bundles: () => bundlesOf(authority.bundle.current),
    clock,
    signal,
    expect: id,
  });
}

function requesterFor(authority: Authority, id: SpiffeId): SvidRequester {
  return { requestSvid: async (csr) => authority.issue({ id, publicKey: verifyCsr(csr).publicKey }) };
}
