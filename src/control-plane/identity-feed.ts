import { join } from 'node:path';
import { ApiClient } from '#api/api-client.ts';
import { Feed } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import { identityId } from '#certs/reserved-ids.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import { FeedClient } from '#feeds/feed-client.ts';
import { LastGoodStore } from '#feeds/last-good.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch, WatchSource } from '#runtime/watch.ts';
import { type KeySet, parseKeySet } from '#tokens/key-set.ts';

interface IdentityFeedOptions {
  readonly address: Address;
  readonly identityRegion: string;
  readonly globalTrustDomain: TrustDomain;
  readonly identity: Watch<TlsIdentity>;
  readonly stateDir: string;
  readonly keySet: WatchSource<KeySet | undefined>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The keys that tokens of this cell are verified with, as identity publishes them. */
export async function subscribeToIdentity(options: IdentityFeedOptions): Promise<FeedClient> {
  const { address, identityRegion, globalTrustDomain, identity, stateDir, keySet, clock } = options;
  const client = new ApiClient({ ...address, expect: identityId(globalTrustDomain, identityRegion), identity, clock });
  const feed = new FeedClient({
    clock,
    random: options.random,
    logger: options.logger,
    instance: 'control-plane',
    open: () => client.open(Feed.method.subscribe),
    publisher: 'identity',
    features: [],
    apply: { keys: (document) => keySet.set(parseKeySet(document)) },
    lastGood: new LastGoodStore(join(stateDir, 'last-good')),
  });
  await feed.start();
  return feed;
}
