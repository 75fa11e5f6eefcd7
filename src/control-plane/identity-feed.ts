import { join } from 'node:path';
import { ApiClient } from '#api/api-client.ts';
import { Feed } from '#api/generated/cellmesh/feeds/v1/feed_pb.ts';
import { identityId } from '#certs/reserved-ids.ts';
import type { Listener } from '#certs/root-rotation.ts';
import type { TrustDomain } from '#certs/spiffe-id.ts';
import type { TrustBundle } from '#certs/trust-bundle.ts';
import { FeedClient } from '#feeds/feed-client.ts';
import { LastGoodStore } from '#feeds/last-good.ts';
import type { TlsIdentity } from '#net/tls-identity.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch, WatchSource } from '#runtime/watch.ts';
import { type KeySet, parseKeySet } from '#tokens/key-set.ts';
import { BundleAnnouncer } from './bundle-announcer.ts';
import type { GlobalBundle } from './global-bundle.ts';

interface IdentityFeedOptions {
  readonly address: Address;
  readonly identityRegion: string;
  readonly globalTrustDomain: TrustDomain;
  readonly identity: Watch<TlsIdentity>;
  readonly stateDir: string;
  readonly keySet: WatchSource<KeySet | undefined>;
  readonly globalBundle: GlobalBundle;
  /** Of the cell. */
  readonly bundle: Watch<TrustBundle>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** What identity and the cell tell each other. */
export interface IdentityFeed extends AsyncDisposable {
  readonly feed: Pick<FeedClient, 'isConnected' | 'ageMs'>;
  askForKey(iss: string, kid: string): void;
  /** Identity itself, while it has not taken the cell's bundle: routers would not know who signs. */
  listeners(): readonly Listener[];
}

/** An identity that is away for longer than this does not keep a cell from its next root; routers cannot renew their own SVIDs by then. */
const identityWaitMsMax = 24 * 3600_000;

/** The keys that tokens of this cell are verified with, and the roots of the global trust domain, as identity publishes them; to it the cell's roots. */
export async function subscribeToIdentity(options: IdentityFeedOptions): Promise<IdentityFeed> {
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
    apply: {
      bundles: (document) => options.globalBundle.apply(document),
      keys: (document) => keySet.set(parseKeySet(document)),
    },
    lastGood: new LastGoodStore(join(stateDir, 'last-good')),
  });
  await feed.start();
  const announcer = new BundleAnnouncer({ ...options, client });
  return {
    feed,
    askForKey: (iss, kid) => feed.askForKey(iss, kid),
    listeners: () => (announcer.isTaken ? [] : [{ name: 'identity', waitMsMax: identityWaitMsMax }]),
    async [Symbol.asyncDispose]() {
      await Promise.all([feed[Symbol.asyncDispose](), announcer[Symbol.asyncDispose]()]);
      client[Symbol.dispose]();
    },
  };
}
